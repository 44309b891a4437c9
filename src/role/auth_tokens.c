#include "role/auth_tokens.h"

#include "net/log.h"

void auth_tokens_load(const struct conf_oauth *conf, struct credential_file *file, struct tokens **tokens)
{
	char reason[CREDENTIAL_WHY_MAX];
	const char *why = reason;
	struct tokens *fresh = NULL;
	struct buf text;

	if (conf->keys.n == 0) {
		tokens_unref(*tokens);
		*tokens = NULL;
		return;
	}
	buf_init(&text, TOKEN_KEYS_TEXT);
	file->path = conf->keys.p;
	if (credential_append(file, &text, reason))
		fresh = tokens_new(&conf->rules, buf_slice(&text), &why);
	buf_free(&text);
	if (!fresh) {
		log_event(LOG_TOKEN_KEYS_FAILED, LOG_TEXT("file", conf->keys), LOG_CSTR("reason", why));
		return;
	}
	log_event(LOG_TOKEN_KEYS, LOG_TEXT("issuer", conf->rules.issuer), LOG_NUMBER("keys", tokens_key_count(fresh)));
	tokens_unref(*tokens);
	*tokens = fresh;
}
