//! A cluster of routers on a virtual clock and a faulty network, drawn from a seed.
