//! A cluster of routers on a virtual clock and a faulty network, drawn from a seed.
//!
//! [`World`] is the cluster: it takes [`Action`]s, runs in virtual time, and checks after every single input what must
//! hold whatever happens ([`invariants`]). [`scenario`] draws a cluster and its bad days from a seed, heals it, and
//! examines what it has become; of a seed that breaks a rule [`run_shortest`] finds the fewest bad days that do. The same seed gives the same trace, byte for byte.

mod draw;
mod exam;
pub mod explore;
pub mod fate;
pub mod invariants;
mod misfortune;
pub mod network;
pub mod node;
pub mod rehearse;
pub mod rng;
pub mod scenario;
#[cfg(test)]
mod tests;
mod truth;
pub mod world;

pub use explore::{Row, explore};
pub use fate::Fate;
pub use node::{Known, Node};
pub use rehearse::{Outcome, Rehearsal};
pub use rng::Rng;
pub use scenario::{Report, run, run_shortest};
pub use world::{Action, World};
