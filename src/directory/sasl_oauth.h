/*
 * sasl_oauth: what clients say by OAUTHBEARER (RFC 7628 3.1) and XOAUTH2 (Google's format, which was there before), and
 * what they hear when it is refused.
 */
#ifndef DIRECTORY_SASL_OAUTH_H
#define DIRECTORY_SASL_OAUTH_H

#include "directory/accounts.h"

struct oauth_response {
	struct slice identity; /* as whom; empty: nobody said. XOAUTH2: lent from the response */
	struct slice token;    /* lent from the response */
};
#define OAUTH_IDENTITY_MAX ACCOUNT_NAME_MAX

/* The words of RFC 7628 3.1: gs2-header, pairs behind ^A. `room` holds the identity without its escapes. False: it is
 * none of that, there is no bearer token in it, or more than one. */
bool oauthbearer_read(struct slice response, char room[OAUTH_IDENTITY_MAX], struct oauth_response *ret);
/* "user=" NAME ^A "auth=Bearer " TOKEN ^A ^A */
bool xoauth2_read(struct slice response, struct oauth_response *ret);
/* The server's word on a token that it refuses, in JSON (RFC 7628 3.2.2). `lacks_scope`: that is all that is wrong. */
void oauth_refusal(bool xoauth2, bool lacks_scope, struct slice scope, struct buf *out);

#endif
