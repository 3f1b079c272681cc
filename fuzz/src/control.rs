//! Any bytes as a line of the control socket: no panic, and what is a request comes out again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::control::Request;

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let again = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
    }
});
