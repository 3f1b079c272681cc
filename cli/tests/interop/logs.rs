//! What each program says when it is displeased.

use crate::support::Software::{self, Frr, Hactl, Keepalived};

/// Words that say that what was heard displeases.
const COMPLAINTS: &[&str] = &[
    "bogus",
    "checksum",
    "discard",
    "dropp",
    "error",
    "expected",
    "ignor",
    "incorrect",
    "invalid",
    "malformed",
    "mismatch",
    "not match",
    "unexpected",
    "unknown",
    "wrong",
];

/// What each says of its own surroundings, in a namespace without privileges, and of what is as it should be.
fn harmless(software: Software) -> &'static [&'static str] {
    match software {
        // After a partition there are two masters, and the better one is to say so.
        Hactl => &["also says that it is master"],
        // Who is about to preempt does not heed the worse one.
        Keepalived => {
            &["unable to", "permission denied", "operation not permitted", "default user", "received lower priority"]
        }
        // Told to say what it hears, it names the checksum of each advert. It discards worse ones when it is about to
        // preempt, and as a master.
        Frr => &["received vrrp advertisement", "preempt = true)", " <= ", "event in 'initialize' state; ignoring"],
    }
}

/// The lines of a log that complain.
pub fn complaints(software: Software, log: &str) -> Vec<String> {
    let displeased = |line: &&str| {
        let line = line.to_lowercase();
        let complains = match software {
            Hactl => line.contains(r#""event":"dropped""#) || line.contains(r#""event":"warning""#),
            Keepalived | Frr => COMPLAINTS.iter().any(|word| line.contains(word)),
        };
        complains && !harmless(software).iter().any(|words| line.contains(words))
    };
    log.lines().filter(displeased).map(str::to_owned).collect()
}
