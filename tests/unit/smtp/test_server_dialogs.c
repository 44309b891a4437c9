/*
 * Dialogs with the server engine: what the client sends, what it hears, what the owner is told. Each is run whole,
 * octet by octet, and cut at every point, with the same outcome.
 */
#include "test.h"

#include "dialog.h"

/* clang-format off */
static const struct dialog dialogs[] = {
	{"a message by DATA", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}, {S("RCPT TO:<r@example.com>\r\n"), "250 2.1.5"},
	  {S("DATA\r\n"), "354"}, {S("A: b\r\n\r\nhi\r\n.\r\n"), "250 2.6.0"}, {S("QUIT\r\n"), "221 2.0.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: A: b\\r\\n\\r\\nhi\\r\\n\nCLOSE\n"},
	{"pipelined groups, verbs of any case, the next group behind the data", 0,
	 {{S(""), "220"}, EHLO,
	  {S("mail from:<s@a.example>\r\nRcpt To:<r@example.com>\r\nRCPT TO:<q@example.com>\r\ndata\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.1.5, 354"},
	  {S("x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.6.0, 250 2.1.0, 250 2.1.5, 354"},
	  {S(".\r\nQUIT\r\n"), "250 2.6.0, 221 2.0.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nRCPT q@example.com\nDATA\n"
	 "END s@a.example -> r@example.com,q@example.com: x\\r\\n\n"
	 "MAIL \nRCPT r@example.com\nDATA\nEND  -> r@example.com: \nCLOSE\n"},
	{"dots at line starts are undone", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 354"},
	  {S("..\r\n.a\r\n\r\n..b\r\n...\r\na.\r\n.\r\n"), "250 2.6.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: .\\r\\na\\r\\n\\r\\n.b\\r\\n..\\r\\na.\\r\\n\n"},
	{"HELO allows no parameters and lists nothing", 0,
	 {{S(""), "220"}, {S("HELO a.example\r\n"), "250"}, {S("MAIL FROM:<s@a.example> SIZE=3\r\n"), "555 5.5.4"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("RCPT TO:<r@example.com> NOTIFY=NEVER\r\n"), "555 5.5.4"},
	  {S("RCPT TO:<r@example.com>\r\nRSET\r\n"), "250 2.1.5, 250 2.0.0"}},
	 "CONNECT\nHELO a.example\nMAIL s@a.example\nRCPT r@example.com\nRESET\n"},
	{"EHLO with a name that is none, and one that policy refuses", 0,
	 {{S(""), "220"}, {S("EHLO\r\n"), "501"}, {S("EHLO a b\r\n"), "501"}, {S("HELO -\r\n"), "501"},
	  {S("EHLO \xc3\xa9.example\r\n"), "501"}, {S("EHLO refused.example\r\n"), "550"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "503 5.5.1"}, {S("EHLO [192.0.2.1]\r\n"), "250"},
	  {S("EHLO [IPv6:::1] \r\n"), "250"}},
	 "CONNECT\nEHLO refused.example\nEHLO [192.0.2.1]\nEHLO [IPv6:::1]\n"},
	{"EHLO again resets the transaction, a refused one does not", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("EHLO refused.example\r\n"), "550"},
	  {S("RCPT TO:<r@example.com>\r\n"), "250 2.1.5"}, {S("HELO b.example\r\n"), "250"},
	  {S("RCPT TO:<r@example.com>\r\n"), "503 5.5.1"}},
	 HELLO "MAIL s@a.example\nEHLO refused.example\nRCPT r@example.com\nHELO b.example\nRESET\n"},
	{"commands out of order leave the state", 0,
	 {{S(""), "220"},
	  {S("RCPT TO:<r@example.com>\r\nMAIL FROM:<s@a.example>\r\nDATA\r\n"), "503 5.5.1, 503 5.5.1, 503 5.5.1"},
	  {S("NOOP\r\nRSET\r\nNOOP with words\r\nHELP\r\nVRFY u\r\n"),
	   "250 2.0.0, 250 2.0.0, 250 2.0.0, 214 2.0.0, 252 2.5.0"},
	  EHLO, {S("RCPT TO:<r@example.com>\r\n"), "503 5.5.1"}, {S("DATA\r\n"), "503 5.5.1"},
	  {S("MAIL FROM:<s@a.example>\r\nMAIL FROM:<t@a.example>\r\nDATA\r\n"), "250 2.1.0, 503 5.5.1, 503 5.5.1"},
	  {S("RCPT TO:<r@example.com>\r\nMAIL FROM:<t@a.example>\r\nDATA\r\n"), "250 2.1.5, 503 5.5.1, 354"},
	  {S(".\r\n"), "250 2.6.0"}},
	 "CONNECT\nVRFY u\nEHLO a.example\nMAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: \n"},
	{"every RCPT refused: 554 to DATA, and RSET clears", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<unknown@example.com>\r\nRCPT TO:<later@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 550 5.1.1, 451 4.4.3, 554 5.5.1"},
	  {S("RSET\r\nDATA\r\n"), "250 2.0.0, 503 5.5.1"}},
	 HELLO "MAIL s@a.example\nRCPT unknown@example.com\nRCPT later@example.com\nRESET\n"},
	{"one RCPT of three is enough", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nRCPT TO:<unknown@example.com>\r\n"
	     "RCPT TO:<moved@example.com>\r\n"
	     "RCPT TO:<forward@example.com>\r\nRCPT TO:<hidden@example.com>\r\nRCPT TO:<shown@example.com>\r\n"
	     "DATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 550 5.1.1, 551 5.1.6, 251 2.1.5, 550 5.6.8, 250 2.1.5, 354"},
	  {S(".\r\n"), "250 2.6.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nRCPT unknown@example.com\nRCPT moved@example.com\n"
	 "RCPT forward@example.com\n"
	 "RCPT hidden@example.com\nRCPT shown@example.com\nDATA\n"
	 "END s@a.example -> r@example.com,forward@example.com,shown@example.com: \n"},
	{"a refused MAIL leaves no envelope", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<refused@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "550 5.7.1, 503 5.5.1, 503 5.5.1"},
	  {S("MAIL FROM:<later@a.example>\r\nMAIL FROM:<s@a.example>\r\n"), "451 4.3.0, 250 2.1.0"},
	  {S("QUIT\r\n"), "221 2.0.0"}},
	 HELLO "MAIL refused@a.example\nMAIL later@a.example\nMAIL s@a.example\nRESET\nCLOSE\n"},
	{"the owner refuses DATA: the transaction is over", DATA_LATER,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 451 4.3.2"},
	  {S("DATA\r\n"), "503 5.5.1"}, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\nMAIL s@a.example\n"},
	{"the message is refused or deferred by the owner", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<spam@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 354"},
	  {S("x\r\n.\r\nMAIL FROM:<busy@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "550 5.7.1, 250 2.1.0, 250 2.1.5, 354"},
	  {S("x\r\n.\r\nDATA\r\n"), "451 4.3.0, 503 5.5.1"}},
	 HELLO "MAIL spam@a.example\nRCPT r@example.com\nDATA\nEND spam@a.example -> r@example.com: x\\r\\n\n"
	 "MAIL busy@a.example\nRCPT r@example.com\nDATA\nEND busy@a.example -> r@example.com: x\\r\\n\n"},
	{"verbs that are known but not served, and unknown ones (B6)", 0,
	 {{S(""), "220"}, EHLO,
	  {S("STARTTLS\r\nAUTH PLAIN\r\nETRN a\r\nATRN\r\nTURN\r\nBURL x\r\nSEND FROM:<a@b>\r\nSOML FROM:<a@b>\r\n"
	     "SAML FROM:<a@b>\r\n"),
	   "502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1, 502 5.5.1"},
	  {S("DEBUG\r\nWIZ\r\nKILL\r\n\r\nXCLIENT a\r\n MAIL FROM:<a@b>\r\nRCPTTO:<a@b>\r\n"),
	   "500 5.5.1, 500 5.5.1, 500 5.5.1, 500 5.5.1, 500 5.5.1, 500 5.5.1, 500 5.5.1"}},
	 HELLO},
	{"arguments where none may be, none where one has to be, blanks at the end", 0,
	 {{S(""), "220"}, EHLO, {S("DATA now\r\n"), "501 5.5.4"},
	  {S("RSET now\r\nMAIL\r\nRCPT\r\nVRFY\r\nEXPN \r\nRSET \t \r\n"),
	   "501 5.5.4, 501 5.5.4, 503 5.5.1, 501 5.5.4, 501 5.5.4, 250 2.0.0"}, {S("QUIT now\r\n"), "501 5.5.4"},
	  {S("QUIT \r\n"), "221 2.0.0"}},
	 HELLO "CLOSE\n"},
	{"malformed paths", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL\tFROM:<s@a.example>\r\nMAIL s@a.example\r\nMAIL FROM: <s@a.example>\r\n"
	     "MAIL FROM:s@a.example\r\nMAIL FROM:<s@a.example\r\n"
	     "MAIL FROM:<s@a.example>SIZE=1\r\nMAIL FROM:<postmaster>\r\nMAIL FROM:<s@a@b>\r\nMAIL FROM:<s>\r\n"),
	   "500 5.5.1, 501 5.5.2, 501 5.1.7, 501 5.1.7, 501 5.1.7, 501 5.1.7, 501 5.1.7, 501 5.1.7, 501 5.1.7"},
	  {S("MAIL FROM:<@x.example,@y.example:s@a.example>\r\nRCPT TO:<>\r\nRCPT FROM:<r@example.com>\r\n"
	     "RCPT TO:<Postmaster>\r\n"),
	   "250 2.1.0, 501 5.1.3, 501 5.5.2, 250 2.1.5"}},
	 HELLO "MAIL s@a.example\nRCPT Postmaster\n"},
	{"parts of a path that are too long", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@a.example>\r\n"
	     "MAIL FROM:<s@a.example>\r\n"
	     "RCPT TO:<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@a.example>\r\n"),
	   "501 5.1.7, 250 2.1.0, 501 5.1.3"}},
	 HELLO "MAIL s@a.example\n"},
	{"parameters of MAIL", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example> SIZE=100000 body=8bitMIME SMTPUTF8 RET=hdrs ENVID=QQ+2B+3D\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.0.0"},
	  {S("MAIL FROM:<> RET=FULL BODY=7BIT\r\nRSET\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.0.0, 250 2.1.0, 250 2.0.0"}},
	 HELLO "MAIL s@a.example size=100000 body=1 ret=2 utf8 envid=QQ+2B+3D\nRESET\nMAIL  ret=1\nRESET\n"
	 "MAIL  body=2\nRESET\n"},
	{"parameters of MAIL that are refused (B9, B10, S27)", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<a@b> SIZE=100001\r\nMAIL FROM:<a@b> SIZE=99999999999999999999\r\n"
	     "MAIL FROM:<a@b> SIZE=18446744073709551616\r\n"
	     "MAIL FROM:<a@b> SIZE=-1\r\nMAIL FROM:<a@b> SIZE=\r\nMAIL FROM:<a@b> SIZE\r\n"
	     "MAIL FROM:<a@b> SIZE=000000000000000000001\r\n"
	     "MAIL FROM:<a@b> SIZE=1 size=1\r\n"),
	   "552 5.3.4, 552 5.3.4, 552 5.3.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4"},
	  {S("MAIL FROM:<a@b> AUTH=\"\r\nMAIL FROM:<a@b> \"\r\nMAIL FROM:<a@b> =\r\nMAIL FROM:<a@b>  RET=FULL\r\n"
	     "MAIL FROM:<a@b> NOTIFY=NEVER\r\nMAIL FROM:<a@b> BODY=9BIT\r\n"),
	   "555 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 555 5.5.4, 501 5.5.4"}},
	 HELLO},
	{"DSN parameters of MAIL that are refused (RFC 3461 4.3 to 4.5, S27)", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<a@b> SMTPUTF8=1\r\nMAIL FROM:<a@b> RET=SOME\r\nMAIL FROM:<a@b> RET=FULL RET=FULL\r\n"
	     "MAIL FROM:<a@b> ENVID=a ENVID=a\r\nMAIL FROM:<a@b> ENVID=a+0Db\r\nMAIL FROM:<a@b> ENVID=a+0Ab\r\n"
	     "MAIL FROM:<a@b> ENVID=a+00b\r\n"
	     "MAIL FROM:<a@b> ENVID=a+2bb\r\nMAIL FROM:<a@b> ENVID=a+2\r\nMAIL FROM:<a@b> ENVID=a=b\r\n"
	     "MAIL FROM:<a@b> ENVID=\r\n"
	     "MAIL FROM:<a@b> ENVID=\xc3\xa9\r\n"
	     "MAIL FROM:<a@b> ENVID=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
	   "501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, "
	   "501 5.5.4, 501 5.5.4, "
	   "501 5.5.4, 501 5.5.4"}},
	 HELLO},
	{"parameters of RCPT are kept as given", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("RCPT TO:<r@example.com> NOTIFY=success,Failure,DELAY ORCPT=rfc822;R+2Bx@Example.com\r\n"
	     "RCPT TO:<r@example.com> notify=never\r\n"
	     "RCPT TO:<r@example.com> ORCPT=x400;\r\n"), "250 2.1.5, 250 2.1.5, 250 2.1.5"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com notify=14 orcpt=rfc822;R+2Bx@Example.com\n"
	 "RCPT r@example.com notify=1\n"
	 "RCPT r@example.com orcpt=x400;\n"},
	{"parameters of RCPT that are refused (RFC 3461 4.1, 4.2, 4.5; S27)", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("RCPT TO:<r@b> NOTIFY=NEVER,DELAY\r\nRCPT TO:<r@b> NOTIFY=\r\nRCPT TO:<r@b> NOTIFY=DELAY,\r\n"
	     "RCPT TO:<r@b> NOTIFY=DELAY NOTIFY=DELAY\r\n"
	     "RCPT TO:<r@b> ORCPT=r@b\r\nRCPT TO:<r@b> ORCPT=;r\r\nRCPT TO:<r@b> ORCPT=a.b;r\r\n"
	     "RCPT TO:<r@b> ORCPT=rfc822;a+0D+0Ab\r\n"
	     "RCPT TO:<r@b> ORCPT=rfc822;+00\r\nRCPT TO:<r@b> ORCPT=rfc822;a ORCPT=rfc822;a\r\n"
	     "RCPT TO:<r@b> ORCPT=utf-8;\xc3\xa9@b\r\n"
	     "RCPT TO:<r@b> SIZE=1\r\n"),
	   "501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, "
	   "501 5.5.4, 501 5.5.4, "
	   "555 5.5.4"}},
	 HELLO "MAIL s@a.example\n"},
	{"internationalised addresses need SMTPUTF8", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<\xc3\xa9@a.example>\r\n"), "550 5.6.7"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("RCPT TO:<\xc3\xa9@example.com>\r\nRSET\r\n"), "553 5.6.7, 250 2.0.0"},
	  {S("MAIL FROM:<\xc3\xa9@a.example> SMTPUTF8\r\n"
	     "RCPT TO:<\xc3\xa9@example.com> ORCPT=utf-8;\xc3\xa9@b\r\n"), "250 2.1.0, 250 2.1.5"},
	  {S("RCPT TO:<\xc3@example.com>\r\nRCPT TO:<r@example.com> ORCPT=utf-8;\xc3@b\r\n"),
	   "501 5.1.3, 501 5.5.4"}},
	 HELLO "MAIL s@a.example\nRESET\nMAIL \xc3\xa9@a.example utf8\n"
	 "RCPT \xc3\xa9@example.com orcpt=utf-8;\xc3\xa9@b\n"},
	{"VRFY, EXPN, HELP", 0,
	 {{S(""), "220"}, EHLO, {S("VRFY \xc3\xa9 smtputf8\r\nVRFY \xc3\xa9\r\nVRFY \xc3\r\nEXPN list\r\n"
	    "EXPN other\r\n"),
	   "252 2.5.0, 252 2.5.0, 500 5.5.2, 250 2.1.5, 502 5.5.1"},
	  {S("HELP\r\nHELP mail\r\nHELP LHLO\r\nHELP \xc3\r\n"), "214 2.0.0, 214 2.0.0, 504 5.5.4, 504 5.5.4"}},
	 HELLO "VRFY \xc3\xa9\nVRFY \xc3\xa9\nEXPN list\nEXPN other\n"},
	{"HELP STATUS without an owner who tells it", 0,
	 {{S(""), "220"}, EHLO, {S("HELP STATUS\r\n"), "504 5.5.4"}}, HELLO},
	{"HELP STATUS", STATUS,
	 {{S(""), "220"}, {S("help status\r\n"), "211 2.0.0"}, EHLO, {S("HELP STATUS\r\nNOOP\r\n"), "211 2.0.0, 250 2.0.0"},
	  {S("HELP STATUSES\r\n"), "504 5.5.4"}},
	 "CONNECT\nSTATUS\nEHLO a.example\nSTATUS\n"},
	{"suspended parameters are offered but draw 455, and nothing else changes", SUSPENDED,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example> SMTPUTF8\r\nMAIL FROM:<s@a.example> BODY=8BITMIME smtputf8\r\n"
	     "MAIL FROM:<s@a.example> BODY=8BITMIME\r\nRCPT TO:<r@example.com> NOTIFY=NEVER\r\n"
	     "RCPT TO:<r@example.com> ORCPT=rfc822;r@x\r\n"),
	   "455 4.3.3, 455 4.3.3, 250 2.1.0, 455 4.3.3, 250 2.1.5"}},
	 HELLO "MAIL s@a.example body=1\nRCPT r@example.com orcpt=rfc822;r@x\n"},
	{"what is not offered is unknown", NO_EXTENSIONS,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<a@b> BODY=8BITMIME\r\nMAIL FROM:<a@b> SMTPUTF8\r\nMAIL FROM:<a@b> RET=FULL\r\n"
	     "MAIL FROM:<\xc3\xa9@b>\r\nVRFY \xc3\xa9\r\n"),
	   "555 5.5.4, 555 5.5.4, 555 5.5.4, 550 5.6.7, 500 5.5.2"},
	  {S("MAIL FROM:<a@b> SIZE=3\r\nRCPT TO:<r@example.com>\r\nBDAT 5 LAST\r\nQUIT\nNOOP\r\n"),
	   "250 2.1.0, 250 2.1.5, 502 5.5.1, 250 2.0.0"},
	  {S("DATA\r\n"), "503 5.5.1"}},
	 HELLO "MAIL a@b size=3\nRCPT r@example.com\nRESET\n"},
	{"a message by BDAT, pipelined (RFC 3030 4.2)", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example> BODY=BINARYMIME\r\nRCPT TO:<r@example.com>\r\nBDAT 8\r\nA: b\r\n\r\n"
	     "BDAT 4\r\n\r\0\n.BDAT 0 LAST\r\n"
	     "MAIL FROM:<t@a.example>\r\nQUIT\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0, 250 2.5.0, 250 2.6.0, 250 2.1.0, 221 2.0.0"}},
	 HELLO "MAIL s@a.example body=2\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: A: b\\r\\n\\r\\n\\r\\00\\n.\n"
	 "MAIL t@a.example\nRESET\nCLOSE\n"},
	{"BDAT of nothing, and dots in chunks stay", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 0 LAST\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.6.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nbdat 3\r\n.\r\nBDAT 00004 last\r\n..\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0, 250 2.6.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nEND s@a.example -> r@example.com: \n"
	 "MAIL s@a.example\nRCPT r@example.com\nDATA\nEND s@a.example -> r@example.com: .\\r\\n..\\r\\n\n"},
	{"BDAT at the wrong time: its octets are no commands", 0,
	 {{S(""), "220"}, {S("BDAT 6\r\nNOOP\r\nNOOP\r\n"), "503 5.5.1, 250 2.0.0"}, EHLO,
	  {S("BDAT 6 LAST\r\nNOOP\r\nMAIL FROM:<s@a.example>\r\nBDAT 6\r\nRSET\r\nRCPT TO:<r@example.com>\r\n"),
	   "503 5.5.1, 250 2.1.0, 503 5.5.1, 503 5.5.1"},
	  {S("BDAT 6\r\nRSET\r\nBDAT 3 LAST\r\n...DATA\r\n"), "503 5.5.1, 503 5.5.1, 503 5.5.1"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<unknown@example.com>\r\nBDAT 6 LAST\r\nQUIT\r\n"
	     "MAIL FROM:<s@a.example>\r\n"),
	   "250 2.1.0, 550 5.1.1, 554 5.5.1, 250 2.1.0"}},
	 HELLO "MAIL s@a.example\nRESET\nMAIL s@a.example\nRCPT unknown@example.com\nRESET\nMAIL s@a.example\n"},
	{"BDAT and DATA do not mix (RFC 3030 2, 3)", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example> BODY=BINARYMIME\r\nRCPT TO:<r@example.com>\r\n"
	    "DATA\r\n"), "250 2.1.0, 250 2.1.5, 503 5.5.1"},
	  {S("BDAT 3\r\nabcDATA\r\n"), "250 2.5.0, 503 5.5.1"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 2 LAST\r\n\r\n"),
	   "503 5.5.1, 503 5.5.1, 250 2.6.0"}, {S("BDAT 1 LAST\r\nxDATA\r\n"), "503 5.5.1, 503 5.5.1"}},
	 HELLO "MAIL s@a.example body=2\nRCPT r@example.com\nDATA\nEND s@a.example -> r@example.com: abc\\r\\n\n"},
	{"RSET and EHLO between chunks drop the message", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 3\r\nabcRSET\r\n"
	    "BDAT 3 LAST\r\nabc"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0, 250 2.0.0, 503 5.5.1"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 3\r\nabcEHLO b.example\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0, 250"},
	  {S("BDAT 3 LAST\r\nabc"), "503 5.5.1"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\nMAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "EHLO b.example\nRESET\n"},
	{"the owner refuses BDAT: pipelined chunks are read and refused until RSET", DATA_LATER,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 6\r\nNOOP\r\nBDAT 0\r\nBDAT 6\r\nQUIT\r\n"
	     "MAIL FROM:<>\r\nRCPT TO:<r@b>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 451 4.3.2, 503 5.5.1, 503 5.5.1, 503 5.5.1, 503 5.5.1, 503 5.5.1"},
	  {S("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<r@b>\r\nBDAT 6 LAST\r\nNOOP\r\nMAIL FROM:<>\r\n"),
	   "250 2.0.0, 250 2.1.0, 250 2.1.5, 451 4.3.2, 250 2.1.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\nMAIL \nRCPT r@b\nDATA\nRESET\nMAIL \n"},
	{"BDAT with a size that is none (B10)", TALKATIVE,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT -1\r\nBDAT\r\n"
	    "BDAT x LAST\r\nDATA\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.1.5, 501 5.5.4, 503 5.5.1, 503 5.5.1, 503 5.5.1, 250 2.0.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 6 LATS\r\nQUIT\r\nBDAT 6 LAST x\r\n"
	     "QUIT\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.1.5, 501 5.5.4, 503 5.5.1, 250 2.0.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 18446744073709551615\r\nQUIT\r\n"),
	   "250 2.1.0, 250 2.1.5, 552 5.3.4"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nRESET\nMAIL s@a.example\nRCPT r@example.com\nRESET\n"
	 "MAIL s@a.example\nRCPT r@example.com\nRESET\nCLOSE\n"},
	{"BDAT beyond 64 bits (B10)", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\n"
	    "BDAT 99999999999999999999 LAST\r\nQUIT\r\n"),
	   "250 2.1.0, 250 2.1.5, 552 5.3.4"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nRESET\nCLOSE\n"},
	{"a message over the limit by DATA: read to its end, then 552", SMALL,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 354"},
	  {S("0123456789012345678901234567\r\n.\r\nMAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.6.0, 250 2.1.0, 250 2.1.5, 354"},
	  {S("0123456789\r\n0123456789012345\r\n..\r\nMAIL FROM:<s@a.example>\r\n.\r\nNOOP\r\n"),
	   "552 5.3.4, 250 2.0.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: 0123456789012345678901234567\\r\\n\n"
	 "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\n"},
	{"a message over the limit by BDAT: the chunk that passes it is refused", SMALL,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 20\r\n012345678901234567\r\n"
	     "BDAT 11\r\n012345678\r\nBDAT 2 LAST\r\n\r\nNOOP\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0, 552 5.3.4, 503 5.5.1, 250 2.0.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\n"
	     "BDAT 30 LAST\r\n0123456789012345678901234567\r\n"), "250 2.1.0, 250 2.1.5, 250 2.6.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\n"
	 "MAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: 0123456789012345678901234567\\r\\n\n"},
	{"NUL, bare CR and bare LF in command lines: one error each (S26)", TALKATIVE,
	 {{S(""), "220"}, {S("EHLO a\rMAIL FROM:<x@b>\r\n"), "500 5.5.2"},
	  EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("RCPT TO:<a@b>\nRCPT TO:<c@d>\r\nRCPT TO:<a@b>\r\r\nRCPT TO:<a@b>\n\r\n"
	     "RCPT TO:<a@b>\rRCPT TO:<a@b>\nRCPT TO:<a@b>\r\n\r\r\n"),
	   "500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2, 500 5.5.2"},
	  {S("RCPT TO:<a\0@b>\r\nNO\0OP\r\n\0\r\nNOOP\r\n"), "500 5.5.2, 500 5.5.2, 500 5.5.2, 250 2.0.0"}},
	 HELLO "MAIL s@a.example\n"},
	{"input behind EHLO is refused, and nothing of it run (B1)", 0,
	 {{S(""), "220"}, {S("EHLO a.example\r\nMAIL FROM:<s@a.example>\r\n"), "250, 554 5.5.1"}},
	 HELLO "CLOSE\n"},
	{"input behind DATA is refused (B1)", 0,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\nx\r\n.\r\n"),
	   "250 2.1.0, 250 2.1.5, 354, 554 5.5.1"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\nCLOSE\n"},
	{"early talkers are served where that is configured", TALKATIVE,
	 {{S("EHLO a.example\r\nMAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
	    "NOOP\r\n"),
	   "220, 250, 250 2.1.0, 250 2.1.5, 354, 250 2.6.0, 221 2.0.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nEND s@a.example -> r@example.com: x\\r\\n\nCLOSE\n"},
	{"LMTP: LHLO, and a reply for each accepted recipient, in order (RFC 2033 4.2)", LMTP,
	 {{S(""), "220"}, {S("EHLO a.example\r\n"), "500"}, {S("HELO a.example\r\n"), "500"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "503 5.5.1"},
	  {S("LHLO a.example\r\n"), "250"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nRCPT TO:<unknown@example.com>\r\n"
	     "RCPT TO:<busy@example.com>\r\n"
	     "RCPT TO:<r@example.com>\r\nDATA\r\n"), "250 2.1.0, 250 2.1.5, 550 5.1.1, 250 2.1.5, 250 2.1.5, 354"},
	  {S("x\r\n.\r\nNOOP\r\n"), "250 2.1.5, 451 4.3.0, 250 2.1.5, 250 2.0.0"}},
	 "CONNECT\nEHLO a.example\nMAIL s@a.example\nRCPT r@example.com\nRCPT unknown@example.com\n"
	 "RCPT busy@example.com\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com,busy@example.com,r@example.com: x\\r\\n\n"},
	{"LMTP: DATA without recipient is 503, a faulty message has a reply for each", LMTP,
	 {{S(""), "220"}, {S("LHLO a.example\r\n"), "250"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<unknown@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 550 5.1.1, 503 5.5.1"},
	  {S("RCPT TO:<r@example.com>\r\nRCPT TO:<q@example.com>\r\nDATA\r\n"), "250 2.1.5, 250 2.1.5, 354"},
	  {S("x\n\r\n.\r\nNOOP\r\n"), "554 5.6.0, 554 5.6.0, 250 2.0.0"}},
	 "CONNECT\nEHLO a.example\nMAIL s@a.example\nRCPT unknown@example.com\nRCPT r@example.com\n"
	 "RCPT q@example.com\nDATA\nRESET\n"},
	{"LMTP: BDAT LAST has as many replies as accepted recipients, perhaps none (RFC 2033 4.3)", LMTP,
	 {{S(""), "220"}, {S("LHLO a.example\r\n"), "250"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nRCPT TO:<q@example.com>\r\n"
	     "BDAT 3\r\nabcBDAT 2 LAST\r\n\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.1.5, 250 2.5.0, 250 2.1.5, 250 2.1.5"},
	  {S("BDAT 1 LAST\r\nxMAIL FROM:<s@a.example>\r\nRCPT TO:<unknown@example.com>\r\nBDAT 6\r\nNOOP\r\n"
	     "BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n"),
	   "503 5.5.1, 250 2.1.0, 550 5.1.1, 503 5.5.1, 250 2.0.0"},
	  {S("MAIL FROM:<refused@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 6 LAST\r\nNOOP\r\nBDAT 6 LAST\r\n"
	     "NOOP\r\nNOOP\r\n"),
	   "550 5.7.1, 503 5.5.1, 503 5.5.1, 250 2.0.0"}},
	 "CONNECT\nEHLO a.example\nMAIL s@a.example\nRCPT r@example.com\nRCPT q@example.com\nDATA\n"
	 "END s@a.example -> r@example.com,q@example.com: abc\\r\\n\n"
	 "MAIL s@a.example\nRCPT unknown@example.com\nRESET\nMAIL refused@a.example\n"},
	{"LMTP: a refused chunk has one reply, the last one behind it one for each recipient", LMTP | DATA_LATER,
	 {{S(""), "220"}, {S("LHLO a.example\r\n"), "250"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nRCPT TO:<q@example.com>\r\n"
	     "BDAT 3\r\nabcBDAT 2 LAST\r\n\r\nNOOP\r\n"),
	   "250 2.1.0, 250 2.1.5, 250 2.1.5, 451 4.3.2, 503 5.5.1, 503 5.5.1, 250 2.0.0"}},
	 "CONNECT\nEHLO a.example\nMAIL s@a.example\nRCPT r@example.com\nRCPT q@example.com\nDATA\nRESET\n"},
	{"HTTP: closed at the first line, and nothing behind it is run", TALKATIVE,
	 {{S(""), "220"},
	  {S("POST / HTTP/1.1\r\nHost: mx.example.com\r\n\r\nEHLO a.example\r\nMAIL FROM:<s@a.example>\r\n"), "421 4.5.5"}},
	 "CONNECT\nCLOSE\n"},
	{"HTTP by a method that is a verb of ours", TALKATIVE,
	 {{S(""), "220"}, {S("NOOP / HTTP/1.1\r\nEHLO a.example\r\n"), "421 4.5.5"}}, "CONNECT\nCLOSE\n"},
	{"HTTP by a method that nobody knows, in a transaction", TALKATIVE,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("frob /x http/2.0 \r\nRCPT TO:<r@example.com>\r\n"), "421 4.5.5"}},
	 HELLO "MAIL s@a.example\nRESET\nCLOSE\n"},
	{"HTTP: the preface of version 2, and a bare method", TALKATIVE,
	 {{S(""), "220"}, {S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "421 4.5.5"}}, "CONNECT\nCLOSE\n"},
	{"HTTP: a request of version 0.9", TALKATIVE, {{S(""), "220"}, {S("get /\r\n"), "421 4.5.5"}}, "CONNECT\nCLOSE\n"},
	{"HTTP: a response", TALKATIVE, {{S(""), "220"}, {S("HTTP/1.0 200 OK\r\n"), "421 4.5.5"}}, "CONNECT\nCLOSE\n"},
	{"what only looks like HTTP is a command like others", 0,
	 {{S(""), "220"}, EHLO,
	  {S("NOOP HTTP/1.1x\r\nNOOP HTTP/11\r\nNOOPHTTP/1.1\r\nNOOP GET\r\nGETS\r\nNOOP HTTP/1\r\nVRFY /1.1\r\n"),
	   "250 2.0.0, 250 2.0.0, 500 5.5.1, 250 2.0.0, 500 5.5.1, 250 2.0.0, 252 2.5.0"}},
	 HELLO "VRFY /1.1\n"},
	{"a handshake of TLS, whatever is in it", TALKATIVE,
	 {{S(""), "220"}, {S("\x16\3\1\2\0\1\0\1\xfc\3\3\nx\r\nEHLO a.example\r\n"), "421 4.5.5"}}, "CONNECT\nCLOSE\n"},
	{"a handshake of TLS after EHLO, without STARTTLS", TALKATIVE,
	 {{S(""), "220"}, EHLO, {S("NOOP\r\n\x16\3"), "250 2.0.0, 421 4.5.5"}}, HELLO "CLOSE\n"},
	{"octets of a handshake elsewhere are none", 0,
	 {{S(""), "220"}, {S("\x16\2\r\nNOOP \x16\3\r\n\3\r\n"), "500 5.5.1, 250 2.0.0, 500 5.5.1"}}, "CONNECT\n"},
	{"a loop through this server is found by our own name", 0,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"), "250 2.1.0, 250 2.1.5, 354"},
	  {S("Received: from a by mx.example.com; x\r\nReceived: from b\r\n\tby MX.example.com with ESMTP; x\r\n"
	     "Received: by other.example; x\r\n\r\n.\r\n"), "250 2.6.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"), "250 2.1.0, 250 2.1.5, 354"},
	  {S("Received: by mx.example.com; x\r\nReceived: by mx.example.com; x\r\nReceived: by mx.example.com; x\r\n"
	     "\r\n.\r\n"), "554 5.4.6"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: Received: from a by mx.example.com; x\\r\\nReceived: from b\\r\\n\\09by "
	 "MX.example.com with ESMTP; x\\r\\nReceived: by other.example; x\\r\\n\\r\\n\n"
	 "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\n"},
	{"STARTTLS: all that was said before is forgotten", TLS_OFFER,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\n"), "250 2.1.0, 250 2.1.5"},
	  {S("starttls \r\n"), "220 2.0.0"}, {S("MAIL FROM:<s@a.example>\r\nDATA\r\n"), "503 5.5.1, 503 5.5.1"},
	  {S("EHLO b.example\r\n"), "250"}, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"),
	   "250 2.1.0, 250 2.1.5, 354"}, {S("x\r\n.\r\nQUIT\r\n"), "250 2.6.0, 221 2.0.0"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nSTARTTLS\nRESET\nTLS\nEHLO b.example\nMAIL s@a.example\n"
	 "RCPT r@example.com\nDATA\nEND s@a.example -> r@example.com: x\\r\\n\nCLOSE\n"},
	{"STARTTLS: before EHLO, with an argument, again, and behind a message", TLS_OFFER,
	 {{S(""), "220"}, {S("STARTTLS now\r\n"), "501 5.5.4"}, {S("STARTTLS\r\n"), "220 2.0.0"},
	  {S("STARTTLS\r\n"), "503 5.5.1"}, EHLO, {S("STARTTLS x\r\n"), "501 5.5.4"}, {S("STARTTLS\r\n"), "503 5.5.1"},
	  {S("HELP\r\n"), "214 2.0.0"}},
	 "CONNECT\nSTARTTLS\nTLS\nEHLO a.example\n"},
	{"STARTTLS: not to be had now; the session goes on, and its transaction", TLS_OFFER | NO_TLS,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}, {S("STARTTLS\r\n"), "454 4.7.0"},
	  {S("RCPT TO:<r@example.com>\r\n"), "250 2.1.5"}},
	 HELLO "MAIL s@a.example\nSTARTTLS\nRCPT r@example.com\n"},
	{"STARTTLS in the middle of chunks, and behind a refused one", TLS_OFFER,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 1\r\nx"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0"}, {S("STARTTLS\r\n"), "220 2.0.0"}, {S("BDAT 1 LAST\r\nx"), "503 5.5.1"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nSTARTTLS\nRESET\nTLS\n"},
	{"TLS is required: 530 to all but what leads to it", TLS_REQUIRE,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRSET\r\n"), "530 5.7.0, 530 5.7.0"},
	  {S("VRFY u\r\nHELP\r\nXYZ\r\nBDAT 5 LAST\r\nRSET\nNOOP\r\n"),
	   "530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 250 2.0.0"},
	  {S("HELO a.example\r\n"), "530 5.7.0"}, {S("STARTTLS\r\n"), "220 2.0.0"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "503 5.5.1"}, EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"},
	  {S("QUIT\r\n"), "221 2.0.0"}},
	 HELLO "STARTTLS\nTLS\nEHLO a.example\nMAIL s@a.example\nRESET\nCLOSE\n"},
	{"TLS from the first octet", TLS_IMPLICIT,
	 {{S(""), "220"}, EHLO, {S("STARTTLS\r\n"), "503 5.5.1"}, {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}},
	 "TLS\n" HELLO "MAIL s@a.example\n"},
	{"STARTTLS on LMTP", TLS_OFFER | LMTP,
	 {{S(""), "220"}, {S("LHLO a.example\r\n"), "250"}, {S("STARTTLS\r\n"), "220 2.0.0"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "503 5.5.1"}, {S("LHLO a.example\r\n"), "250"}},
	 HELLO "STARTTLS\nTLS\nEHLO a.example\n"},
	{"SMTP knows no LHLO", 0, {{S(""), "220"}, {S("LHLO a.example\r\n"), "500"}}, "CONNECT\n"},
};
/* clang-format on */

static void ehlo_lists_what_is_offered(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.offer_vrfy = d.config.offer_expn = true;
	desk_start(&d);
	desk_flush(&d);
	assert_slice(buf_slice(&d.out), "220 mx.example.com ESMTP Postrider ready\r\n");
	buf_reset(&d.out);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_slice(buf_slice(&d.out), "250-mx.example.com greets a.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
					"250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n"
					"250-DSN\r\n250-VRFY\r\n250-EXPN\r\n250-HELP\r\n250 SIZE 100000\r\n");
	assert_true(smtp_server_is_extended(d.s));
	assert_slice(smtp_server_peer_name(d.s), "a.example");
	buf_reset(&d.out);
	desk_feed(&d, SLICE("HELO b.example\r\n"));
	desk_flush(&d);
	assert_slice(buf_slice(&d.out), "250 mx.example.com greets b.example\r\n");
	assert_false(smtp_server_is_extended(d.s));
	assert_slice(smtp_server_peer_name(d.s), "b.example");
	desk_free(&d);
}

static void ehlo_lists_nothing_that_depends_on_what_is_not_offered(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.offer_8bitmime = d.config.offer_chunking = d.config.offer_pipelining = d.config.offer_help = false;
	d.config.offer_dsn = false;
	desk_start(&d);
	desk_flush(&d);
	buf_reset(&d.out);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_slice(buf_slice(&d.out),
		     "250-mx.example.com greets a.example\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 100000\r\n");
	desk_free(&d);
}

static void starttls_is_offered_until_there_is_tls(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.tls = SMTP_TLS_OFFER;
	desk_start(&d);
	desk_flush(&d);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_true(slice_search(buf_slice(&d.out), SLICE("250-STARTTLS\r\n")) < buf_len(&d.out));
	buf_reset(&d.out);
	desk_feed(&d, SLICE("STARTTLS\r\n"));
	desk_flush(&d);
	desk_secure(&d);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_int_equal(slice_search(buf_slice(&d.out), SLICE("STARTTLS")), buf_len(&d.out));
	desk_free(&d);
}

/* RFC 8689 2. */
static void requiretls_is_offered_and_known_under_tls_alone(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.tls = SMTP_TLS_OFFER;
	d.config.offer_requiretls = true;
	desk_start(&d);
	desk_flush(&d);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_int_equal(slice_search(buf_slice(&d.out), SLICE("REQUIRETLS")), buf_len(&d.out));
	buf_reset(&d.out);
	desk_feed(&d, SLICE("MAIL FROM:<a@b.example> REQUIRETLS\r\nSTARTTLS\r\n"));
	desk_flush(&d);
	assert_true(slice_starts(buf_slice(&d.out), SLICE("555 5.5.4 ")));
	desk_secure(&d);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	assert_true(slice_search(buf_slice(&d.out), SLICE("250-REQUIRETLS\r\n")) < buf_len(&d.out));
	buf_reset(&d.out);
	desk_feed(&d, SLICE("MAIL FROM:<a@b.example> REQUIRETLS=yes\r\n"));
	desk_feed(&d, SLICE("MAIL FROM:<a@b.example> requiretls RequireTLS\r\n"));
	desk_flush(&d);
	assert_true(slice_starts(buf_slice(&d.out), SLICE("501 5.5.4 ")));
	assert_true(slice_search(buf_slice(&d.out), SLICE("\r\n501 5.5.4 ")) < buf_len(&d.out));
	desk_feed(&d, SLICE("MAIL FROM:<a@b.example> requiretls\r\n"));
	desk_flush(&d);
	assert_true(smtp_server_envelope(d.s)->requiretls);
	desk_feed(&d, SLICE("RSET\r\nMAIL FROM:<a@b.example>\r\n"));
	desk_flush(&d);
	assert_false(smtp_server_envelope(d.s)->requiretls);
	desk_free(&d);
}

/* CVE-2011-0411 (C1): whatever is sent behind STARTTLS in the clear is refused, said so, and never run. */
static void clear_text_behind_starttls_is_refused(void **state)
{
	static const char text[] = "STARTTLS\r\nRSET\r\nMAIL FROM:<evil@a.example>\r\n\x16\3\1";

	(void)state;
	for (unsigned knobs = 0; knobs < 8; knobs++)
		for (size_t cut = 1; cut < sizeof text; cut++) {
			struct desk d;
			desk_init(&d);
			d.config.tls = SMTP_TLS_OFFER;
			d.config.refuse_early = knobs & 1;
			d.no_tls = knobs & 2;
			d.silent = knobs & 4;
			desk_start(&d);
			desk_answer_now(&d);
			desk_flush(&d);
			desk_feed(&d, SLICE("EHLO a.example\r\n"));
			desk_answer_now(&d);
			desk_flush(&d);
			buf_reset(&d.out);
			size_t taken = desk_feed(&d, slice_of(text, cut));
			taken += desk_feed(&d, slice_of(text + taken, sizeof text - 1 - taken));
			desk_answer_now(&d);
			desk_pull(&d);
			desk_feed(&d, slice_of(text + taken, sizeof text - 1 - taken));
			desk_flush(&d);
			bool refused = slice_search(buf_slice(&d.out), SLICE("554 5.5.1 Nothing may follow STARTTLS")) <
				       buf_len(&d.out);
			/* Where TLS is not to be had there is no handshake that could be deceived. */
			assert_true(refused || (knobs & 2 && slice_starts(buf_slice(&d.out), SLICE("454 4.7.0 "))));
			assert_true(d.closed || !refused);
			if (refused)
				assert_slice(buf_slice(&d.log), "CONNECT\nEHLO a.example\nSTARTTLS\nCLOSE\n");
			desk_free(&d);
		}
}

/* Nothing is said in the clear while a handshake is under way. */
static void handshake_ends_in_silence(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct desk d;
		desk_init(&d);
		d.config.tls = SMTP_TLS_OFFER;
		desk_start(&d);
		desk_flush(&d);
		desk_feed(&d, SLICE("STARTTLS\r\n"));
		desk_flush(&d);
		buf_reset(&d.out);
		assert_true(smtp_server_awaits_tls(d.s));
		assert_int_equal(smtp_server_deadline(d.s), d.now + 30 * SECOND);
		if (how == 0)
			smtp_server_tick(d.s, d.now + 30 * SECOND);
		else if (how == 1)
			smtp_server_shutdown(d.s);
		else
			smtp_server_lost(d.s);
		desk_pull(&d);
		assert_true(d.closed);
		assert_int_equal(smtp_server_output(d.s).n, 0);
		desk_free(&d);
	}
}

static void texts_name_what_is_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *says, *hears;
	} rows[] = {
		{"MAIL FROM: <a@b>\r\n",
		 "501 5.1.7 Sender address is not valid: no space may stand behind the colon\r\n"},
		{"MAIL FROM:<a@b> SIZE=999999\r\n",
		 "552 5.3.4 Message of 999999 octets is over the limit of 100000\r\n"},
		{"MAIL FROM:<a@b> X-Y=1\r\n", "555 5.5.4 Parameter X-Y is not recognized\r\n"},
		{"MAIL FROM:<a@b> RET=NO\r\n", "501 5.5.4 Parameter RET is malformed: it has to be FULL or HDRS\r\n"},
		{"MAIL TO:<a@b>\r\n", "501 5.5.2 Syntax error; the form is: MAIL FROM:<address> [parameters]\r\n"},
		{"RCPT TO:<a@b>\r\n", "503 5.5.1 Bad sequence of commands: MAIL first\r\n"},
		{"HELP rcpt\r\n", "214 2.0.0 RCPT TO:<address> [parameters]\r\n"},
		{"TURN\r\n", "502 5.5.1 TURN is not implemented here\r\n"},
	};
	struct desk d;

	desk_init(&d);
	desk_start(&d);
	desk_flush(&d);
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		desk_flush(&d);
		buf_reset(&d.out);
		desk_feed(&d, slice_from_cstr(rows[i].says));
		desk_flush(&d);
		assert_slice(buf_slice(&d.out), rows[i].hears);
	}
	desk_free(&d);
}

int main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(ehlo_lists_what_is_offered),
		cmocka_unit_test(ehlo_lists_nothing_that_depends_on_what_is_not_offered),
		cmocka_unit_test(starttls_is_offered_until_there_is_tls),
		cmocka_unit_test(requiretls_is_offered_and_known_under_tls_alone),
		cmocka_unit_test(clear_text_behind_starttls_is_refused),
		cmocka_unit_test(handshake_ends_in_silence),
		cmocka_unit_test(texts_name_what_is_wrong),
	};
	int failed = dialogs_run(dialogs, sizeof dialogs / sizeof *dialogs);

	return failed + cmocka_run_group_tests_name("replies", others, NULL, NULL);
}
