/*
 * tls: TLS without I/O, on either side; and the server's without a private key.
 *
 * A tls_server is a set of certificates with the keys of tickets, a tls_client a set of authorities that are trusted; a
 * tls is one session of either. Octets from the network go in, octets for the network come out, each in memory.
 *
 * The server's side: the signature that a handshake needs is made elsewhere: the
 * handshake stops with TLS_SIGN, tls_request says what is to be signed by which key, and tls_signed lets it go on. So
 * the process that talks to the world never holds a private key, and never waits for one.
 *
 * TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers; no renegotiation, no compression, no early data.
 * Sessions are resumed by tickets. They are bound to the listener (`binding`) and to the name that was asked for by
 * SNI: elsewhere, a whole handshake is done. ALPN has to have "smtp", if there is any. A client that asks for it gets
 * what the certificate's issuer last said of it (OCSP stapling, RFC 6066 8).
 *
 * The client's side: the handshake goes through whatever the server's certificate is worth, and the facts say whether
 * it was verified (RFC 5280 the chain, RFC 9525 the name), or why not. What that means for the mail is the caller's to
 * say.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/buf.h"
#include "base/clock.h"

#include <stdint.h>

#define TLS_KEY_ID        32  /* SHA-256 of a public key (SubjectPublicKeyInfo) */
#define TLS_CHAINS_MAX    64  /* certificates with a key of their own */
#define TLS_CHAIN_MAX     10  /* certificates of a chain */
#define TLS_CERTIFICATE_MAX ((size_t)64 * 1024)
#define TLS_SIGNED_MAX    256 /* octets that a handshake has signed */
#define TLS_SIGNATURE_MAX 1024
#define TLS_NAME_MAX      255
#define TLS_STAPLE_MAX    ((size_t)16 * 1024)
#define TLS_HOLDER_MAX    4096
#define TLS_TICKET_NAME   16
#define TLS_TICKET_SECRET 32

/* A certificate in DER, with those that lead to its root. Of one name there may be one with an RSA key and one with an
 * EC key: what the client offers decides, and where it offers both the EC key is taken. */
struct tls_chain {
	struct slice name; /* by SNI: "mx.example.com", "*.example.com"; the first is for all others too */
	uint8_t key[TLS_KEY_ID];
	struct slice certificates[TLS_CHAIN_MAX];
	size_t count;         /* at least 1 */
	struct slice staple;  /* what its issuer says of it: a response of OCSP in DER (RFC 6960); empty: none */
	wall_ms staple_until; /* it is said to nobody from then on */
};

/* What tickets are made with, the newest first: it makes them, both open them. */
struct tls_tickets {
	struct tls_ticket_key {
		uint8_t name[TLS_TICKET_NAME];
		uint8_t secret[TLS_TICKET_SECRET];
	} key[2];
	size_t count;     /* 0: no session can be resumed */
	span_ms lifetime; /* of a ticket */
};

/* What is to be signed, and how. */
enum tls_digest { TLS_SHA256, TLS_SHA384, TLS_SHA512 };
#define TLS_DIGEST_LAST TLS_SHA512
enum tls_padding { TLS_PADDING_NONE, TLS_PADDING_PKCS1, TLS_PADDING_PSS }; /* NONE: ECDSA */
#define TLS_PADDING_LAST TLS_PADDING_PSS
struct tls_request {
	uint8_t key[TLS_KEY_ID];
	enum tls_digest digest;
	enum tls_padding padding;
	uint8_t text[TLS_SIGNED_MAX];
	size_t n;
};

/* A new secret that makes the tickets from now on; the last one still opens those that it made. False: there is no
 * randomness to be had. */
bool tls_tickets_renew(struct tls_tickets *t);

/* Once, before the process can open no more files: OpenSSL shall not look for any later. Again is fine. */
bool tls_prepare(void);

struct tls_server;

/* NULL, and why: a certificate is none, there are two of one name and one kind of key, or there is no memory. There is
 * one chain at least. */
struct tls_server *tls_server_new(const struct tls_chain *chains, size_t count, const char **why);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s); /* NULL is fine */
/* From now on; sessions that stand are not changed. */
void tls_server_set_tickets(struct tls_server *s, const struct tls_tickets *tickets);

/*
 * Authorities that sign the certificates of clients, in PEM; and the lists of revoked ones (CRL) of each of them:
 * empty, and none is asked for. NULL, and why: what cannot be used of which, or there is no memory.
 */
#define TLS_TRUST_TEXT_MAX  ((size_t)1024 * 1024)
#define TLS_AUTHORITIES_MAX 100
struct tls_trust_text {
	struct slice authorities, revoked;
};
struct tls_trust;
struct tls_trust *tls_trust_new(const struct tls_trust_text *text, const char **why);
struct tls_trust *tls_trust_ref(struct tls_trust *t);
void tls_trust_unref(struct tls_trust *t); /* NULL is fine */

struct tls_client;

/*
 * Who is trusted: `authorities` is a file in PEM, NULL: the system's. `revoked` is a file in PEM with the lists of
 * revoked certificates (CRL) of whoever issues those that are to be verified; NULL: none is asked for. NULL without
 * memory. A file that cannot be used is no failure: then nothing is verified, for the reason that
 * tls_client_complaint gives (NULL: there is none).
 */
struct tls_client *tls_client_new(const char *authorities, const char *revoked);
/* The same with files that are open, or could not be opened (net/credential.h); they are left open. */
struct credential_file;
struct tls_client *tls_client_of(const struct credential_file *authorities, const struct credential_file *revoked);
const char *tls_client_complaint(const struct tls_client *c);
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c); /* NULL is fine */

/* Whom a client means to talk to. Lent for the call. */
struct tls_aim {
	struct slice name; /* whom the certificate has to be for, and SNI: a host name in A-labels, or an IP address */
	struct slice peer; /* sessions are resumed with the same peer by the same name alone: "192.0.2.1:25" */
	bool strict;       /* nothing weak, at the price of no session; else whatever is better than none */
};

struct tls;

enum tls_result {
	TLS_DONE,   /* the handshake is done; or octets were read */
	TLS_WAITS,  /* octets of the peer are wanted */
	TLS_SIGN,   /* a signature is wanted: tls_request */
	TLS_ENDED,  /* the peer sends no more */
	TLS_FAILED, /* tls_why; an alert may be in the output */
};

/* NULL without memory. */
struct tls *tls_new(struct tls_server *server, struct slice binding);
/* Before the handshake, what time it is. Without it nothing is stapled: nobody knows whether it still holds. */
void tls_set_now(struct tls *t, wall_ms now);
/* Before the handshake: the client is asked for a certificate. Whether he has one, and what it is worth, is in the
 * facts; the handshake goes on without it. Such sessions are never resumed. False without memory. */
bool tls_ask_certificate(struct tls *t, struct tls_trust *trust);
/* A client's session. NULL without memory, or when the name is none. It begins with tls_handshake. */
struct tls *tls_connect(struct tls_client *client, const struct tls_aim *aim);
void tls_free(struct tls *t); /* NULL is fine */

/* Octets from the network. False without memory. */
bool tls_feed(struct tls *t, struct slice octets);
/* Octets that were fed and not used yet. */
size_t tls_pending(const struct tls *t);
enum tls_result tls_handshake(struct tls *t);
/* After the handshake: what the peer says, as far as there is room. */
enum tls_result tls_read(struct tls *t, char *into, size_t room, size_t *ret_n);
/* After the handshake. False without memory. */
bool tls_write(struct tls *t, struct slice octets);
/* Says to the peer that nothing follows. */
void tls_close(struct tls *t);
/* Moves what is to be sent to the end of `out`. False when it has no room. */
bool tls_output(struct tls *t, struct buf *out);

/* What TLS_SIGN asks for. */
const struct tls_request *tls_request(const struct tls *t);
/* The signature; empty: there is none, and the handshake fails. tls_handshake goes on. */
void tls_signed(struct tls *t, struct slice signature);

/* What was agreed on. Names are those of the registries: "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519". */
struct tls_facts {
	const char *version, *cipher, *group; /* the group may be "" */
	bool resumed;
	struct slice name; /* SNI: a host name in lower case; empty: none, or none that is one */
	/* Of a client's session, and of one whose client was asked for a certificate. */
	bool verified;          /* chain and name; of a client: the chain */
	const char *unverified; /* why not; else "", as where nobody was asked */
	/* Of one whose client was asked, if it is verified: what his certificate says of him, as directory/external.h
	 * has it. Else empty. */
	struct slice holder;
	struct slice peer;      /* the names that the certificate is for, in printable ASCII, perhaps not all */
};
/* Good after the handshake, for the life of the session. */
void tls_facts(const struct tls *t, struct tls_facts *ret);
/*
 * What binds words said inside to this session and no other (channel binding): tls-exporter (RFC 9266), and under TLS
 * 1.2 tls-unique (RFC 5929 3). TLS 1.2 without the extended master secret (RFC 7627) has neither: there they can be the
 * same for two sessions. After the handshake.
 */
#define TLS_EXPORTER_SIZE 32
#define TLS_UNIQUE_MAX    64
struct tls_binding {
	uint8_t exporter[TLS_EXPORTER_SIZE], unique[TLS_UNIQUE_MAX];
	size_t exporter_n, unique_n; /* 0: there is none */
};
void tls_binding(const struct tls *t, struct tls_binding *ret);

/* Why it failed; a static text or one of the session's. */
const char *tls_why(const struct tls *t);

#endif
