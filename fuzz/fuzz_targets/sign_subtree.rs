//! `subtree`: a request that is accepted is written back byte for byte; a proof that verifies has the planned length.
#![no_main]

use glasslog_core::subtree::{SignSubtreeRequest, consistency_spans};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(request) = SignSubtreeRequest::parse(body) {
        let text = request.to_text();
        assert_eq!(text.as_bytes(), body);
        if request.verify_proof().is_ok() {
            // Before the empty line: the range, the hash, the proof.
            let lines = text.lines().take_while(|line| !line.is_empty()).count();
            let spans = consistency_spans(request.subtree(), request.checkpoint().size);
            assert_eq!(spans.map(|spans| spans.len() + 2), Ok(lines));
        }
    }
});
