#!/usr/bin/perl
# Reads a report from standard input with Mail::DeliveryStatus::BounceParser; prints a line for each report in it:
# address, status, standard reason, separated by tabs.
use strict;
use warnings;
use Mail::DeliveryStatus::BounceParser;

my $text = do { local $/; <STDIN> };
my $bounce = Mail::DeliveryStatus::BounceParser->new($text);
exit 1 unless $bounce->is_bounce;
for my $report ($bounce->reports) {
	print join("\t", map { $report->get($_) // '' } 'email', 'status', 'std_reason'), "\n";
}
