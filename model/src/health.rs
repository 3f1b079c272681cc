//! Rise and fall: how single results become a state.
