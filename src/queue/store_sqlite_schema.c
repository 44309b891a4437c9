/*
 * The tables of the store, and every statement that it runs. Values are always bound, never put into the text.
 *
 * Invariants, kept by each transaction:
 *   message.open counts its recipients in states 0 to 2; message.finished is NULL while it is > 0
 *   a row of body exists exactly while message.open > 0, so that body lists the open messages; data is NULL when the
 *     body is in a file
 *   a recipient that waits has a lane (site, flow), and the lane's site has a turn; with first = the earliest due time
 * of the lane: lane.visit <= first, or the lane had its share at lane.visit - 1; turn.visit <= every lane.visit of its
 * site, or the site had its share at turn.visit - 1 state holds the number of recipients in each state
 */
#include "queue/store_sqlite.h"

#include <assert.h>

/* clang-format off */
const char store_sqlite_schema[] =
	"CREATE TABLE state ("
	"  one INTEGER PRIMARY KEY CHECK (one = 1),"
	"  owner INTEGER NOT NULL,"         /* incarnation of the server */
	"  blocks INTEGER NOT NULL,"        /* first block of ids that is not reserved */
	"  seq INTEGER NOT NULL,"           /* last history.seq */
	"  now INTEGER NOT NULL,"           /* latest time of the store's clock that was seen */
	"  waiting INTEGER NOT NULL,"
	"  claimed INTEGER NOT NULL,"
	"  held INTEGER NOT NULL,"
	"  delivered INTEGER NOT NULL,"
	"  failed INTEGER NOT NULL,"
	"  removed INTEGER NOT NULL,"
	"  clock BLOB NOT NULL);"
	"INSERT INTO state VALUES (1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, x'');"

	"CREATE TABLE message ("
	"  id INTEGER PRIMARY KEY,"
	"  open INTEGER NOT NULL,"
	"  finished INTEGER,"               /* when the last recipient was settled */
	"  rcpt_count INTEGER NOT NULL,"
	"  in_file INTEGER NOT NULL,"       /* the body is spool/XX/ID */
	"  size INTEGER NOT NULL,"
	"  arrived INTEGER NOT NULL,"       /* wall clock */
	"  arrived_queue INTEGER NOT NULL," /* the store's clock */
	"  sender BLOB NOT NULL,"
	"  envid BLOB NOT NULL,"
	"  body INTEGER NOT NULL,"
	"  ret INTEGER NOT NULL,"
	"  utf8 INTEGER NOT NULL,"
	"  content INTEGER NOT NULL,"
	"  flow INTEGER NOT NULL,"
	"  client BLOB NOT NULL,"
	"  helo BLOB NOT NULL,"
	"  protocol BLOB NOT NULL,"
	"  login BLOB NOT NULL,"
	"  about INTEGER NOT NULL,"
	"  note BLOB NOT NULL,"
	"  file_digest INTEGER,"            /* of the body's file */
	"  digest INTEGER);"                /* of what never changes in this row; NULL: version 1 kept none */
	"CREATE INDEX message_finished ON message (finished) WHERE finished IS NOT NULL;"

	"CREATE TABLE body ("
	"  id INTEGER PRIMARY KEY,"
	"  digest INTEGER NOT NULL,"
	"  data BLOB);"

	"CREATE TABLE recipient ("
	"  msg INTEGER NOT NULL,"
	"  n INTEGER NOT NULL,"
	"  state INTEGER NOT NULL,"
	"  due INTEGER NOT NULL,"
	"  site INTEGER NOT NULL,"
	"  flow INTEGER NOT NULL,"
	"  owner INTEGER NOT NULL,"         /* who has claimed it */
	"  lease INTEGER NOT NULL,"         /* until when; 0 = as long as the owner lives */
	"  attempts INTEGER NOT NULL,"
	"  warned INTEGER NOT NULL,"
	"  last INTEGER NOT NULL,"          /* history.seq of the last attempt; 0 = none */
	"  notify INTEGER NOT NULL,"
	"  address BLOB NOT NULL,"
	"  orcpt BLOB NOT NULL,"
	"  digest INTEGER,"                 /* of what never changes in this row */
	"  PRIMARY KEY (msg, n)) WITHOUT ROWID;"
	"CREATE INDEX recipient_due ON recipient (site, flow, due) WHERE state = 0;"
	"CREATE INDEX recipient_claimed ON recipient (owner) WHERE state = 1;"

	"CREATE TABLE history ("
	"  msg INTEGER NOT NULL,"
	"  seq INTEGER NOT NULL,"
	"  event INTEGER NOT NULL,"
	"  at INTEGER NOT NULL,"
	"  n INTEGER NOT NULL,"
	"  verdict INTEGER NOT NULL,"
	"  stage INTEGER NOT NULL,"
	"  code INTEGER NOT NULL,"
	"  status INTEGER NOT NULL,"        /* 5001001 is 5.1.1 */
	"  flags INTEGER NOT NULL,"         /* 1 ambiguous, 2 the peer took over the DSN parameters, 4 lossy */
	"  text BLOB NOT NULL,"
	"  remote BLOB NOT NULL,"
	"  took INTEGER NOT NULL,"
	"  next_due INTEGER NOT NULL,"
	"  about INTEGER NOT NULL,"
	"  secured BLOB,"                   /* NULL: before version 3 */
	"  PRIMARY KEY (msg, seq)) WITHOUT ROWID;"

	"CREATE TABLE turn ("
	"  site INTEGER PRIMARY KEY,"
	"  visit INTEGER NOT NULL,"
	"  served INTEGER NOT NULL);"       /* grows with each turn of any site; 0 = it had none */
	"CREATE INDEX turn_visit ON turn (visit, served);"

	"CREATE TABLE lane ("
	"  site INTEGER NOT NULL,"
	"  flow INTEGER NOT NULL,"
	"  visit INTEGER NOT NULL,"
	"  PRIMARY KEY (site, flow)) WITHOUT ROWID;"
	"CREATE INDEX lane_visit ON lane (site, visit);";

const char *const store_sqlite_upgrades[STORE_SCHEMA_VERSION] = {
	[1] = "ALTER TABLE message ADD COLUMN file_digest INTEGER;"
	      "ALTER TABLE message ADD COLUMN digest INTEGER;"
	      "ALTER TABLE recipient ADD COLUMN digest INTEGER;",
	[2] = "ALTER TABLE history ADD COLUMN secured BLOB;",
	[3] = "", /* an older server does not know the new flags, and has to leave them alone */
};

/* Read by read_message and read_rcpt of store_sqlite_read.c, in this order. */
#define MESSAGE \
	"m.id, m.open, m.rcpt_count, m.in_file, m.size, m.arrived, m.arrived_queue, m.sender, m.envid, m.body, m.ret," \
	" m.utf8, m.content, m.flow, m.client, m.helo, m.protocol, m.login, m.about, m.file_digest, m.digest"
#define OUTCOME "h.verdict, h.stage, h.code, h.status, h.flags, h.text, h.secured"
#define RCPT \
	"r.n, r.address, r.orcpt, r.notify, r.flow, r.digest, r.state, r.site, r.due, r.attempts, r.warned, h.remote, h.at, " OUTCOME \
	" FROM recipient r LEFT JOIN history h ON h.msg = r.msg AND h.seq = r.last"

static const char *const texts[] = {
	[STORE_SQL_BEGIN] = "BEGIN IMMEDIATE",
	[STORE_SQL_COMMIT] = "COMMIT",
	[STORE_SQL_ROLLBACK] = "ROLLBACK",

	[STORE_SQL_STATE_LOAD] =
		"SELECT owner, blocks, seq, now, waiting, claimed, held, delivered, failed, removed FROM state WHERE one = 1",
	[STORE_SQL_STATE_SAVE] =
		"UPDATE state SET owner = ?, blocks = ?, seq = ?, now = ?, waiting = ?, claimed = ?, held = ?,"
		" delivered = ?, failed = ?, removed = ? WHERE one = 1",
	[STORE_SQL_CLOCK_LOAD] = "SELECT clock FROM state WHERE one = 1",
	[STORE_SQL_CLOCK_SAVE] = "UPDATE state SET clock = ? WHERE one = 1",

	[STORE_SQL_MESSAGE_PUT] =
		"INSERT INTO message (id, open, rcpt_count, in_file, size, arrived, arrived_queue, sender, envid, body,"
		" ret, utf8, content, flow, client, helo, protocol, login, about, note, file_digest, digest)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
	[STORE_SQL_BODY_PUT] = "INSERT INTO body (id, digest, data) VALUES (?, ?, ?)",
	[STORE_SQL_RCPT_PUT] =
		"INSERT INTO recipient (msg, n, state, due, site, flow, owner, notify, address, orcpt, digest,"
		" lease, attempts, warned, last)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0)",
	[STORE_SQL_HISTORY_PUT] =
		"INSERT INTO history (msg, seq, event, at, n, verdict, stage, code, status, flags, text, remote, took,"
		" next_due, about, secured) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[STORE_SQL_MESSAGE_EXISTS] = "SELECT 1 FROM message WHERE id = ?",

	[STORE_SQL_SETTLE_LOAD] =
		"SELECT r.state, r.flow, r.attempts, r.warned, r.last, m.rcpt_count, m.open, m.in_file"
		" FROM recipient r CROSS JOIN message m WHERE r.msg = ?1 AND r.n = ?2 AND m.id = ?1",
	[STORE_SQL_SETTLE] =
		"UPDATE recipient SET state = ?, due = ?, site = ?, owner = 0, lease = 0, attempts = ?, warned = ?, last = ?"
		" WHERE msg = ? AND n = ?",
	[STORE_SQL_MESSAGE_SETTLE] = "UPDATE message SET open = ?, finished = ? WHERE id = ?",
	[STORE_SQL_BODY_DROP] = "DELETE FROM body WHERE id = ?",
	[STORE_SQL_FILE_NAMED] = "SELECT 1 FROM message WHERE id = ? AND in_file = 1 AND open > 0",

	[STORE_SQL_SETTLED] =
		"SELECT id FROM message WHERE finished IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?",
	[STORE_SQL_STATES_OF] = "SELECT state FROM recipient WHERE msg = ?",
	[STORE_SQL_HISTORY_DROP] = "DELETE FROM history WHERE msg = ?",
	[STORE_SQL_RCPT_DROP] = "DELETE FROM recipient WHERE msg = ?",
	[STORE_SQL_MESSAGE_DROP] = "DELETE FROM message WHERE id = ?",

	[STORE_SQL_TURN_FIRST] = "SELECT site, visit FROM turn ORDER BY visit, served LIMIT 1",
	[STORE_SQL_TURN_LOWER] =
		"INSERT INTO turn (site, visit, served) VALUES (?, ?, 0)"
		" ON CONFLICT (site) DO UPDATE SET visit = excluded.visit WHERE excluded.visit < visit",
	[STORE_SQL_TURN_SET] = "UPDATE turn SET visit = ?, served = ? WHERE site = ?",
	[STORE_SQL_TURN_DROP] = "DELETE FROM turn WHERE site = ?",
	[STORE_SQL_LANE_FIRST] = "SELECT flow, visit FROM lane WHERE site = ? ORDER BY visit LIMIT 1",
	[STORE_SQL_LANE_LOWER] =
		"INSERT INTO lane (site, flow, visit) VALUES (?, ?, ?)"
		" ON CONFLICT (site, flow) DO UPDATE SET visit = excluded.visit WHERE excluded.visit < visit",
	[STORE_SQL_LANE_SET] = "UPDATE lane SET visit = ? WHERE site = ? AND flow = ?",
	[STORE_SQL_LANE_DROP] = "DELETE FROM lane WHERE site = ? AND flow = ?",
	[STORE_SQL_DUE] =
		"SELECT msg, n, due, attempts FROM recipient WHERE state = 0 AND site = ? AND flow = ? ORDER BY due LIMIT ?",
	[STORE_SQL_CLAIM] = "UPDATE recipient SET state = 1, owner = ? WHERE msg = ? AND n = ?",
	[STORE_SQL_ABANDONED] = "SELECT msg, n, site, flow FROM recipient WHERE state = 1 AND owner < ? LIMIT ?",

	[STORE_SQL_MESSAGE_LOAD] = "SELECT " MESSAGE " FROM message m WHERE m.id = ?",
	[STORE_SQL_RCPT_LOAD] = "SELECT " RCPT " WHERE r.msg = ? AND r.n = ?",
	[STORE_SQL_BODY_LOAD] =
		"SELECT m.in_file, m.size, b.digest, b.data FROM message m CROSS JOIN body b WHERE m.id = ?1 AND b.id = ?1",
	[STORE_SQL_LIST_ALL] = "SELECT " MESSAGE " FROM message m WHERE m.id <= ? ORDER BY m.id DESC",
	[STORE_SQL_LIST_OPEN] =
		"SELECT " MESSAGE " FROM body b CROSS JOIN message m WHERE b.id <= ? AND m.id = b.id ORDER BY b.id DESC",
	[STORE_SQL_LIST_RCPTS] = "SELECT " RCPT " WHERE r.msg = ? AND r.n >= ? ORDER BY r.n",
	[STORE_SQL_ACCEPTED] = "SELECT arrived, about, note FROM message WHERE id = ?",
	[STORE_SQL_HISTORY] =
		"SELECT h.event, h.at, h.n, h.remote, h.took, h.about, h.next_due, " OUTCOME
		" FROM history h WHERE h.msg = ? ORDER BY h.seq",
};
/* clang-format on */

static_assert(sizeof texts / sizeof *texts == STORE_SQL_COUNT, "a text for each statement");

const char *store_sqlite_text(enum store_statement which)
{
	assert(which < STORE_SQL_COUNT);
	return texts[which];
}
