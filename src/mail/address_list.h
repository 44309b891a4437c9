/*
 * address_list: the addresses in a header field (RFC 5322 3.4, with the obsolete forms of 4.4).
 *
 * One pass over the octets, one token at a time. An element is what stands between commas; its words are gathered
 * until a '<' shows that they were a name and the address follows, a ':' that they named a group, or its end that they
 * were the address. Two words without a dot or an at sign between them cannot be an address.
 */
#ifndef MAIL_ADDRESS_LIST_H
#define MAIL_ADDRESS_LIST_H

#include "base/slice.h"

#define MAIL_COMMENT_DEPTH      32  /* comments inside one another */
#define MAIL_LISTED_ADDRESS_MAX 512 /* octets; those that SMTP takes are shorter */

/*
 * The addresses of an address-list with comments, groups, routes and quoted strings, each as local@domain, or local
 * alone when it has no domain; what is between the words of an address is left out. `each` gets it, lent until it
 * returns, and stops all by returning its complaint. Returns NULL, or static text: what is wrong. The addresses have no
 * CR, LF or NUL, but are not otherwise checked.
 */
const char *mail_address_list(struct slice list, const char *(*each)(void *arg, struct slice address), void *arg);

#endif
