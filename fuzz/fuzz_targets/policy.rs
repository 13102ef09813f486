//! `policy::Policy`: reading, and asking about the quorum, ends; every key in a policy reads back as itself, and without
//! cosignatures only `quorum none` is filled.
#![no_main]

use glasslog_core::{note::VerifierKey, policy::Policy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    if let Ok(policy) = Policy::parse(file) {
        let logs = policy.logs().iter().map(|log| &log.key);
        for key in logs.chain(policy.witnesses().iter().map(|witness| &witness.key)) {
            assert_eq!(key.to_string().parse::<VerifierKey>().as_ref(), Ok(key));
        }
        assert_eq!(policy.evaluate(&[], u64::MAX).filled, policy.is_quorum_none());
        let _ = policy.has_disjoint_quorums();
    }
    if let Ok(settings) = str::from_utf8(file) {
        let _ = Policy::from_settings(&[], settings, None);
    }
});
