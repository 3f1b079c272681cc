//! A cluster in namespaces on this machine: the whole of a file tried, as root or as an ordinary user.
//!
//! ```text
//! front   waits                          leaves its namespaces, starts ↓, restores the terminal
//! └ world first of its own processes     bridges, commands, measurements, the picture
//!   └ case    waits                      one for each machine: leaves the world's namespaces, starts ↓
//!     └ machine first of its own         `hactl run`, stand-ins for processes, stub servers, or the client
//! ```
//! Invariants:
//! - each process dies with its parent, and with the first of a namespace dies all that is in it: when the front or
//!   the world ends, however it ends, nothing is left, and no code cleans up;
//! - nothing is written outside of a tmpfs that only the laboratory sees, and no packet leaves it.

pub mod client;
pub mod command;
pub mod daemon;
pub mod fact;
pub mod front;
pub mod machine;
mod perform;
mod props;
pub mod protocol;
pub mod rooms;
pub mod sandbox;
pub mod standin;
pub mod state;
pub mod stub;
pub mod topology;
pub mod world;

pub use perform::unknown;
