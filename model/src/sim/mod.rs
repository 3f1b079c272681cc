//! A cluster of routers on a virtual clock and a faulty network, drawn from a seed.
//!
//! [`World`] is the cluster: it takes [`Action`]s, runs in virtual time, and checks after every single input what must
//! hold whatever happens ([`invariants`]). [`scenario`] draws a cluster and its bad days from a seed, heals it, and
//! examines what it has become. The same seed gives the same trace, byte for byte.

pub mod invariants;
pub mod network;
pub mod node;
pub mod rng;
pub mod scenario;
#[cfg(test)]
mod tests;
pub mod world;

pub use node::{Fate, Node};
pub use rng::Rng;
pub use scenario::{Report, run};
pub use world::{Action, World};
