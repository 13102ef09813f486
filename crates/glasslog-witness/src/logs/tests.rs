use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
};

use super::*;

fn secret(name: &str, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn keys(origin: &str, seeds: &[u8]) -> LogKeys {
    let keys = seeds.iter().map(|seed| secret(origin, *seed).verifier_key().clone()).collect();
    LogKeys::new(origin, keys).unwrap()
}

fn configured(origin: &str, seeds: &[u8]) -> KnownLog {
    KnownLog { keys: keys(origin, seeds), qpd: None, disabled: false, source: Source::Settings }
}

fn listed(origin: &str, seed: u8) -> ListedLog {
    ListedLog { keys: keys(origin, &[seed]), qpd: NonZeroU32::new(10).unwrap(), contact: None }
}

fn table() -> LogTable {
    let own = SecretKey::from_seed("witness.example", Algorithm::CosignatureV1, &[200; 32]).unwrap();
    LogTable::new(&[own.verifier_key().clone()], None)
}

fn trusted(table: &LogTable, origin: &str) -> Vec<VerifierKey> {
    table.get(origin).unwrap().log.keys.keys().to_vec()
}

#[test]
fn a_list_adds_and_never_changes_or_removes() {
    let table = table();
    table.configure(vec![configured("a", &[1, 2])]).unwrap();
    let merged =
        table.merge_list("list", vec![listed("a", 2), listed("b", 3), listed("c", 4), listed("c", 5)]);
    assert_eq!((merged.added, merged.known), (2, 1));
    assert_eq!(merged.key_changes, ["c"], "the second of two stanzas of one log");
    let merged = table.merge_list("list", vec![listed("a", 9), listed("b", 9)]);
    assert_eq!((merged.added, merged.known, merged.key_changes), (0, 0, vec!["a".into(), "b".into()]));
    assert_eq!(table.key_changes(), 3);
    assert_eq!(trusted(&table, "a"), keys("a", &[1, 2]).keys());
    assert_eq!(trusted(&table, "b"), keys("b", &[3]).keys());
    table.merge_list("list", Vec::new());
    assert_eq!(table.len(), 3, "nothing is removed");
}

#[test]
fn the_operator_decides() {
    let table = table();
    table.merge_list("list", vec![listed("a", 1)]);
    table.configure(vec![configured("a", &[2]), configured("b", &[3])]).unwrap();
    assert_eq!(trusted(&table, "a"), keys("a", &[2]).keys());
    table.configure(vec![KnownLog { disabled: true, ..configured("b", &[3]) }]).unwrap();
    assert!(table.get("a").is_none(), "it was the operator's; a list may bring it back");
    assert_eq!(table.disabled(), 1);
    assert_eq!(
        table.configure(vec![configured("c", &[1]), configured("c", &[2])]),
        Err(LogTableError::Twice("c".into()))
    );
    assert!(table.get("b").is_some(), "what is refused changes nothing");
}

#[test]
fn a_witness_is_no_log() {
    let table = table();
    // By origin, by key name, by public key.
    let named = listed("witness.example", 1);
    let key_name = LogKeys::new("x", vec![secret("witness.example", 1).verifier_key().clone()]).unwrap();
    let same_key = listed("y", 200);
    let entries = vec![named, ListedLog { keys: key_name, ..listed("x", 1) }, same_key];
    let merged = table.merge_list("list", entries);
    assert_eq!((merged.added, merged.refused.len()), (0, 3));
    assert!(matches!(table.configure(vec![configured("y", &[200])]), Err(LogTableError::Own { .. })));
}

/// A list that changed a key while the witness was down is no better than one that does so while it runs.
#[test]
fn a_key_that_did_not_sign_what_is_held_is_an_alarm_after_a_restart() {
    let text = Checkpoint::new("a", TreeSize::ZERO, Hash::EMPTY_ROOT).to_text();
    let note = Bytes::from(sign(&text, &[&Ed25519Signer::new(&secret("a", 1))]).unwrap());

    let list_first = table();
    list_first.merge_list("list", vec![listed("a", 9), listed("b", 1)]);
    list_first.holds("a", note.clone());
    assert!(list_first.get("a").is_none() && list_first.get("b").is_some());
    assert_eq!(list_first.key_changes(), 1);

    let held_first = table();
    held_first.holds("a", note.clone());
    assert_eq!(held_first.merge_list("list", vec![listed("a", 9)]).key_changes, ["a"]);
    assert_eq!(held_first.merge_list("list", vec![listed("a", 1)]).added, 1);

    let operator = table();
    operator.configure(vec![configured("a", &[9])]).unwrap();
    operator.holds("a", note);
    assert!(operator.get("a").is_some(), "the operator may change keys");
}

/// Against a count by hand: a day's worth at once, then one for each day/qpd that passes, never more.
#[test]
fn a_budget_is_a_day_of_queries() {
    let seconds = Duration::from_secs;
    for qpd in [1, 2, 7, 86_400, (1 << 31) - 1] {
        let budget = Budget::new(NonZeroU32::new(qpd));
        let start = seconds(5);
        let at_once = qpd.min(1000);
        for n in 0..at_once {
            assert_eq!(budget.take(start), Ok(()), "{n} of {qpd}");
        }
        if at_once < qpd {
            continue;
        }
        let wait = budget.take(start).unwrap_err();
        let each = DAY / qpd;
        assert_eq!(wait, each, "{qpd}");
        assert!(budget.take(start + each - Duration::from_nanos(1)).is_err());
        assert_eq!(budget.take(start + each), Ok(()));
        assert!(budget.take(start + each).is_err());
        let rested = (0..2 * qpd).filter(|_| budget.take(start + 10 * DAY).is_ok()).count();
        assert_eq!(rested, qpd as usize, "rest does not add up beyond a day");
    }
    let free = Budget::new(None);
    assert!((0..10_000).all(|_| free.take(Duration::ZERO).is_ok()));
}

#[test]
fn a_reread_of_the_settings_gives_no_budget_back() {
    let table = table();
    let log = KnownLog { qpd: NonZeroU32::new(1), ..configured("a", &[1]) };
    table.configure(vec![log.clone()]).unwrap();
    assert_eq!(table.get("a").unwrap().growth.take(Duration::ZERO), Ok(()));
    table.configure(vec![log.clone()]).unwrap();
    assert!(table.get("a").unwrap().growth.take(Duration::ZERO).is_err());
    table.configure(vec![KnownLog { qpd: NonZeroU32::new(2), ..log }]).unwrap();
    assert_eq!(table.get("a").unwrap().growth.take(Duration::ZERO), Ok(()));
}
