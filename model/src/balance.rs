//! Weighted Maglev: which backend owns which slot, the same on every peer.
