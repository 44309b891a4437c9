#include "mail/report.h"

bool mail_report_due(uint8_t notify, bool null_sender, enum mail_report_action action)
{
	if (null_sender)
		return false;
	switch (action) {
	case MAIL_REPORT_FAILED:
		return notify == 0 || (notify & MAIL_NOTIFY_FAILURE);
	case MAIL_REPORT_DELAYED:
		return notify == 0 || (notify & MAIL_NOTIFY_DELAY);
	case MAIL_REPORT_DELIVERED:
	case MAIL_REPORT_RELAYED:
	case MAIL_REPORT_EXPANDED:
		return notify & MAIL_NOTIFY_SUCCESS;
	}
	return false;
}

bool mail_report_success_due(uint8_t notify, bool null_sender, enum mail_report_hop hop, enum mail_report_action *ret)
{
	*ret = hop == MAIL_REPORT_HOP_MAILBOX ? MAIL_REPORT_DELIVERED : MAIL_REPORT_RELAYED;
	return hop != MAIL_REPORT_HOP_DSN && mail_report_due(notify, null_sender, *ret);
}

enum mail_report_return mail_report_wanted(enum mail_ret ret, bool any_failed, uint64_t size, uint64_t small_max,
					   uint64_t full_max)
{
	uint64_t max = ret == MAIL_RET_FULL ? full_max : ret == MAIL_RET_NONE ? small_max : 0;

	return any_failed && ret != MAIL_RET_HDRS && size <= max ? MAIL_REPORT_RETURN_FULL : MAIL_REPORT_RETURN_HEADER;
}
