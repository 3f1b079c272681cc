//! Golden bytes, checksums computed a second way, and every byte string.
