//! VRRP, sans I/O: RFC 9568 (version 3) and RFC 3768 (version 2) as values in and values out.
//!
//! MASTER, BACKUP and FAULT are what people see, as in keepalived; the RFC's Active and Backup are the same states.
//!
//! Absent on purpose: timers (a deadline is state, see [`Router::deadline`]), sockets, and any trust in what a packet
//! says before it has been judged.

mod addresses;
mod anomaly;
mod bond;
mod cause;
pub mod effect;
mod group;
mod handover;
pub mod input;
mod instance;
mod judge;
pub mod packet;
mod receive;
mod reload;
mod resume;
pub mod router;
pub mod settings;
mod source;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod timers;
pub mod timing;
mod turn;

pub use anomaly::{Anomaly, Oddity};
pub use cause::Cause;
pub use effect::{Effect, Event, VipState, VipStatus};
pub use handover::limit as handover_limit;
pub use input::{FAULT_WEIGHT, Input, LinkState, Received};
pub use resume::{Saved, SavedRouter};
pub use router::Router;
pub use settings::{Password, Settings};
