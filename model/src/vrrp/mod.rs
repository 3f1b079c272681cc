//! VRRP, sans I/O: RFC 9568 (version 3) and RFC 3768 (version 2) as values in and values out.
//!
//! MASTER, BACKUP and FAULT are what people see, as in keepalived; the RFC's Active and Backup are the same states.

pub mod effect;
pub mod input;
pub mod settings;

pub use effect::{Effect, Event, VipState, VipStatus};
pub use input::{Input, LinkState, Received};
pub use settings::{Password, Settings};
