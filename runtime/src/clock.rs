//! The clock of the protocol: CLOCK_MONOTONIC, which no step of the wall clock moves.

use model::units::Moment;
use nix::time::{ClockId, clock_gettime};

/// Which boot its moments belong to; empty where the kernel does not say.
pub fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Now.
pub fn now() -> Moment {
    // CLOCK_MONOTONIC cannot fail on Linux; time standing still is the least harm if it did.
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| nix::sys::time::TimeSpec::new(0, 0));
    let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
    Moment(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0)))
}
