#include "conf/text.h"

#include "directory/external.h"
#include "directory/sasl.h"
#include "directory/sasl_client.h"
#include "policy/pattern.h"

#include <assert.h>
#include <string.h>

#define SOCKET_PATH_MAX 107 /* octets of sun_path without its NUL */
#define PATH_OCTETS_MAX 1024
#define ACCOUNT_OCTETS_MAX 32
#define MEDIA_OCTETS_MAX 100

typedef bool (*text_reader)(struct slice text, const struct conf_text_context *context, struct buf *out,
			    const char **why);

static bool add_domain_name(struct slice text, struct buf *out)
{
	return text.n > 0 && text.p[0] != '[' && mail_domain_canonical(text, out);
}

static bool read_hostname(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	*why = "it is no host name";
	if (!slice_eq(text, SLICE("auto")))
		return add_domain_name(text, out);
	return add_domain_name(context->host->name, out) || buf_add_lit(out, "localhost");
}

/* useradd(8): what it takes for a name. */
static bool read_account(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	*why = "an account has 1 to 32 letters, digits and . _ -";
	if (text.n == 0 || text.n > ACCOUNT_OCTETS_MAX || text.p[0] == '-')
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!ascii_is_alnum(text.p[i]) && !memchr("._-", text.p[i], 3))
			return false;
	return buf_add(out, text);
}

static bool read_path(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	*why = "a path has 1 to 1024 octets";
	return text.n > 0 && text.n <= PATH_OCTETS_MAX && buf_add(out, text);
}

static bool read_socket(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	static const struct slice prefix = {"DATA_DIR/", sizeof "DATA_DIR/" - 1};
	size_t before = buf_len(out);

	*why = "the path of a unix socket has at most 107 octets";
	if (text.n == 0)
		return false;
	if (slice_starts(text, prefix)) {
		buf_add(out, context->data_dir);
		buf_add_char(out, '/');
		text = slice_skip(text, prefix.n);
	}
	buf_add(out, text);
	return !out->failed && buf_len(out) - before <= SOCKET_PATH_MAX;
}

static bool read_address(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct mail_address address;

	(void)context;
	return mail_address_parse(text, &address, why) == MAIL_ADDRESS_OK && buf_add(out, text);
}

static bool read_ip(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct ip_address address;

	(void)context;
	*why = "it is no IP address";
	return ip_parse(text, &address) && buf_add(out, slice_from_cstr(ip_format(&address).text));
}

static bool read_listen_address(struct slice text, const struct conf_text_context *context, struct buf *out,
				const char **why)
{
	return slice_eq(text, SLICE("*")) ? buf_add(out, text) : read_ip(text, context, out, why);
}

static bool read_lmtp_host(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	struct route_host host;

	(void)context;
	*why = "an LMTP server is written \"unix:/path\" or \"inet:host:port\"";
	if (!slice_starts(text, SLICE("unix:")) && !slice_starts(text, SLICE("inet:")))
		return false;
	return route_host_parse(text, ROUTE_PORT_LMTP, &host, why) && buf_add(out, text);
}

static bool read_mailbox(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	return directory_name_valid(text, why) && buf_add(out, text);
}

static bool read_mailboxes(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	return slice_eq(text, SLICE("*")) ? buf_add(out, text) : read_mailbox(text, context, out, why);
}

static bool read_delimiter(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	(void)context;
	*why = "it is none of + - _ = # . ~";
	return text.n == 1 && text.p[0] && strchr("+-_=#.~", text.p[0]) && buf_add(out, text);
}

static bool read_network(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct network network;

	(void)context;
	return network_parse(text, &network, why) && buf_add(out, text);
}

static bool read_host(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct route_host host;

	(void)context;
	return route_host_parse(text, ROUTE_PORT_SMTP, &host, why) && buf_add(out, text);
}

static bool read_pattern(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	return pattern_canonical(text, out, why);
}

static bool read_domain(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	return pattern_domain_canonical(text, out, why);
}

static bool read_parameter(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	static const struct slice names[] = {{"BODY", 4},  {"SMTPUTF8", 8}, {"RET", 3},
					     {"ENVID", 5}, {"NOTIFY", 6},   {"ORCPT", 5}};

	(void)context;
	*why = "it is none of BODY, SMTPUTF8, RET, ENVID, NOTIFY and ORCPT";
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_ieq(text, names[i]))
			return buf_add(out, names[i]);
	return false;
}

/* RFC 2045 5.1 token, in lower case. */
static bool add_token(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.n; i++) {
		if (!ascii_is_print(text.p[i]) || strchr(" ()<>@,;:\\\"/[]?=", text.p[i]))
			return false;
		buf_add_char(out, ascii_lower(text.p[i]));
	}
	return text.n > 0;
}

static bool read_media(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct slice subtype = text, type = slice_split(&subtype, '/');

	(void)context;
	*why = "a media type is written image/png, or image/* for all of a kind";
	return text.n <= MEDIA_OCTETS_MAX && !slice_eq(type, SLICE("*")) && add_token(type, out) &&
	       buf_add_char(out, '/') && add_token(subtype, out);
}

static bool read_extension(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	(void)context;
	*why = "an extension is written exe or .exe, in printable ASCII";
	if (slice_starts(text, SLICE(".")))
		text = slice_skip(text, 1);
	if (text.n > MEDIA_OCTETS_MAX || slice_ends(text, SLICE(".")))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (!ascii_is_print(text.p[i]) || strchr(" /\\", text.p[i]))
			return false;
		buf_add_char(out, ascii_lower(text.p[i]));
	}
	return text.n > 0;
}

static bool read_mechanism(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	enum sasl_mechanism mechanism;

	(void)context;
	*why = "there is no such mechanism";
	return sasl_find(text, &mechanism) && buf_add(out, slice_from_cstr(sasl_row(mechanism)->name));
}

static bool read_certificate_name(struct slice text, const struct conf_text_context *context, struct buf *out,
				  const char **why)
{
	(void)context;
	*why = "a name is written email:a@example.com, dns:host.example.com, uri:..., or key: and 64 digits of 0-9a-f";
	return external_name_valid(text) && buf_add(out, text);
}

static bool read_out_mechanism(struct slice text, const struct conf_text_context *context, struct buf *out,
			       const char **why)
{
	const struct sasl_client_row *row = sasl_client_find(text);

	(void)context;
	*why = "there is no such mechanism";
	return row && buf_add(out, slice_from_cstr(row->name));
}

static bool read_resolver(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	struct slice port = text, address = slice_split(&port, '@');
	uint64_t number = 53;

	*why = "a name server is written 192.0.2.53, 192.0.2.53@5353 or 2001:db8::53";
	if (!read_ip(address, context, out, why) || (port.p && !slice_u64(port, 65535, &number)) || number == 0)
		return false;
	return buf_add_char(out, '@') && buf_add_u64(out, number);
}

/* ---- conditions of rules (codes/smtpcodes.h) ----------------------------------------------------------------- */

#define WORDING_MAX 200

/* Whether a rule with these conditions is one. */
static bool is_condition(struct slice codes, struct slice statuses, struct slice text)
{
	struct smtpcodes_rules_error error;
	struct smtpcodes_rule rule;
	struct buf line;
	size_t count = 0;

	buf_init(&line, 1024);
	buf_printf(&line, "rule\t%.*s\t%.*s\t%.*s\tunknown\t-", SLICE_ARGS(codes), SLICE_ARGS(statuses),
		   SLICE_ARGS(text));
	bool good = !line.failed &&
		    smtpcodes_rules_parse(buf_slice(&line).p, buf_len(&line), &rule, 1, &count, &error) && count == 1;
	buf_free(&line);
	return good;
}

static bool is_line(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
			return false;
	return text.n > 0 && text.n <= WORDING_MAX;
}

static bool read_reply_code(struct slice text, const struct conf_text_context *context, struct buf *out,
			    const char **why)
{
	(void)context;
	*why = "a reply code has three digits or x, such as 550 or 45x; \"-\" is a text without one";
	return is_line(text) && slice_find(text, ',') == text.n && !slice_eq(text, SLICE("*")) &&
	       is_condition(text, SLICE("*"), SLICE("*")) && buf_add(out, text);
}

static bool read_status_code(struct slice text, const struct conf_text_context *context, struct buf *out,
			     const char **why)
{
	(void)context;
	*why = "an enhanced code has three numbers or x, such as 5.1.1 or x.7.x; \"-\" is a text without one";
	return is_line(text) && slice_find(text, ',') == text.n && !slice_eq(text, SLICE("*")) &&
	       is_condition(SLICE("*"), text, SLICE("*")) && buf_add(out, text);
}

static bool read_wording(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	*why = "words have 1 to 200 octets without control characters, and something before and after \" ... \"";
	return is_line(text) && !slice_eq(text, SLICE("*")) && slice_search(text, SLICE(" | ")) == text.n &&
	       is_condition(SLICE("*"), SLICE("*"), text) && buf_add(out, text);
}

/* In the form that certificates have it. */
static bool read_peer_name(struct slice text, const struct conf_text_context *context, struct buf *out,
			   const char **why)
{
	struct ip_address address;

	if (ip_parse(text, &address))
		return read_ip(text, context, out, why);
	*why = "it is neither a host name nor an address";
	return add_domain_name(text, out);
}

static bool read_note(struct slice text, const struct conf_text_context *context, struct buf *out, const char **why)
{
	(void)context;
	*why = "a note has 1 to 200 octets without control characters";
	return is_line(text) && buf_add(out, text);
}

static const struct {
	text_reader read;
	bool none; /* "none" is the empty text */
} readers[TYPE_COUNT_OF] = {
	[TYPE_HOSTNAME] = {read_hostname, false},
	[TYPE_ACCOUNT] = {read_account, false},
	[TYPE_PATH] = {read_path, false},
	[TYPE_SOCKET] = {read_socket, true},
	[TYPE_ADDRESS] = {read_address, true},
	[TYPE_LISTEN_ADDRESS] = {read_listen_address, false},
	[TYPE_LMTP_HOST] = {read_lmtp_host, true},
	[TYPE_MAILBOX] = {read_mailbox, true},
	[TYPE_DELIMITER] = {read_delimiter, true},
	[TYPE_NETWORKS] = {read_network, false},
	[TYPE_ADDRESSES] = {read_ip, false},
	[TYPE_MAILBOXES] = {read_mailboxes, false},
	[TYPE_HOSTS] = {read_host, false},
	[TYPE_RESOLVER] = {read_resolver, true},
	[TYPE_MEMBERS] = {read_address, false},
	[TYPE_PATTERNS] = {read_pattern, false},
	[TYPE_DOMAINS] = {read_domain, false},
	[TYPE_PARAMETERS] = {read_parameter, false},
	[TYPE_PEER_NAME] = {read_peer_name, true},
	[TYPE_FILE] = {read_path, true},
	[TYPE_NOTE] = {read_note, true},
	[TYPE_REPLY_CODES] = {read_reply_code, false},
	[TYPE_STATUS_CODES] = {read_status_code, false},
	[TYPE_WORDINGS] = {read_wording, false},
	[TYPE_MEDIA] = {read_media, false},
	[TYPE_EXTENSIONS] = {read_extension, false},
	[TYPE_MECHANISMS] = {read_mechanism, false},
	[TYPE_CERTIFICATE_NAMES] = {read_certificate_name, false},
	[TYPE_OUT_MECHANISMS] = {read_out_mechanism, false},
};

bool conf_text_read(enum conf_type type, struct slice text, const struct conf_text_context *context, struct buf *out,
		    const char **why)
{
	assert(!conf_type_is_number(type));
	assert(readers[type].read);
	*why = NULL;
	if (readers[type].none && slice_eq(text, SLICE("none")))
		return true;
	return readers[type].read(text, context, out, why);
}

bool conf_domain_read(struct slice text, bool of_route, struct buf *out, const char **why)
{
	*why = "it is no domain name";
	if (of_route && slice_eq(text, SLICE("*")))
		return buf_add(out, text);
	if (of_route && text.n > 1 && text.p[0] == '.') {
		buf_add_char(out, '.');
		text = slice_skip(text, 1);
	}
	return add_domain_name(text, out);
}
