//! The life of an entry, each object printed as it comes to be: `cargo test --test it life_of_an_entry -- --nocapture`.
//!
//! One entry travels from `POST /add` to a proof under a cosigned checkpoint, and to an answer of the verifiable index, through
//! the real binary and real HTTP. What each step leaves behind is shown as a person would read it, and checked by hashing that
//! is done here by hand.

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::VerifiedCheckpoint,
    hash::{leaf_hash, node_hash},
    note::VerifierKey,
    proof::TlogProof,
    witness::origin_hash,
};

use glasslog_vindex::{Evidence, Lookup};
use sha2::{Digest, Sha256};

use crate::support::{Answer, Server, home, poll, request, run};

const ORIGIN: &str = "log.example/life";
const FIRST: &[u8] = br#"{"note":"the entry before, of no package"}"#;
const ENTRY: &[u8] = br#"{"package":"numpy","version":"1.26.4"}"#;

#[test]
fn life_of_an_entry() {
    let home = home();
    let home = home.path();
    let (code, vkey, stderr) = run(home, &["key", "new", ORIGIN, "--out", "log/log.key"]);
    assert_eq!(code, 0, "{stderr}");
    let witness = Server::witness(home, &["--log", &format!("{ORIGIN}={}", vkey.trim())]);
    let external = format!("w={}={}", witness.url, witness.vkey);
    let args = ["--dir", "log", "--external-witnesses", &external, "--vindex-key-field", "package"];
    let server = Server::start(home, &args);
    let log_key: VerifierKey = server.vkey.parse().unwrap();
    let cosigner: VerifierKey = witness.vkey.parse().unwrap();
    show("the log", &format!("origin {}\nvkey   {}", server.origin, server.vkey));
    show("its witness", &format!("vkey   {}", witness.vkey));
    // The witness has confirmed the log's state by then, and cosigned it.
    poll(|| (server.get("/ready").status == 200).then_some(()));
    show("0. before anything is added, a checkpoint of size 0 is public", &server.wait_for_size(0));
    server.add(FIRST);
    server.wait_for_size(2);

    let answer = server.post("/add", &[], ENTRY);
    show("1. POST /add", &String::from_utf8_lossy(ENTRY));
    show("2. 200: pooled, committed with its batch, and durable at this index", answer.text().trim());
    assert_eq!((answer.status, answer.text().as_str()), (200, "2\n"));

    let again = server.post("/add", &[], ENTRY);
    show("   the same bytes again: no new index", &again.head);
    assert!(again.head.to_ascii_lowercase().contains("glasslog-duplicate: true"));
    assert_eq!(again.text(), "2\n");

    // The index has one key, SHA-256("numpy"), whose list has the one element 2: its trie is one leaf.
    let list = leaf_hash(&2_u64.to_be_bytes());
    let value = [&1_u64.to_be_bytes()[..], &2_u64.to_be_bytes(), list.as_bytes()].concat();
    let key = Sha256::digest("numpy");
    let trie: [u8; 32] = Sha256::digest([&[0, 32], &key[..], &[48], &value].concat()).into();
    let (before, after) = (anchor(1, Hash::EMPTY_ROOT), anchor(3, Hash(trie)));
    show("3. the cut that follows ends in an anchor: the index over everything before it", &after);

    let leaf = leaf_hash(ENTRY);
    show("4. integrated: its leaf hash, SHA-256(0x00 ‖ entry)", &leaf.to_string());
    let note = server.wait_for_size(4);

    let entries = [FIRST, before.as_bytes(), ENTRY, after.as_bytes()];
    let leaves = entries.map(leaf_hash);
    let bundle = server.get("/tile/entries/000.p/4");
    show("   the entry bundle, a 16-bit length before each entry", &hex_dump(&bundle.body));
    let length = |entry: &[u8]| u16::try_from(entry.len()).unwrap().to_be_bytes();
    let framed: Vec<u8> = entries.iter().flat_map(|entry| [&length(entry), *entry].concat()).collect();
    assert_eq!(bundle.body, framed);

    let tile = server.get("/tile/0/000.p/4");
    show("5. the level-0 tile, one leaf hash after the other", &hex_dump(&tile.body));
    assert_eq!(tile.body, leaves.map(|leaf| leaf.0).concat());

    let (text, lines) = note.split_once("\n\n").unwrap();
    let (own, others) = lines.split_once('\n').unwrap();
    show("6. cut, signed and recorded: what the witness is asked about", &format!("{text}\n\n{own}"));
    show("7. the witness cosigns what continues the tree that it knows", others);
    show("8. at quorum, public: the cosigned checkpoint", &note);
    let keys = [log_key];
    let cosigners = [cosigner];
    let open = |note: &[u8]| {
        VerifiedCheckpoint::open_with_witnesses(note, &server.origin, &keys, &cosigners).unwrap()
    };
    let checkpoint = open(note.as_bytes());
    let left = node_hash(&leaves[0], &leaves[1]);
    let root: Hash = node_hash(&left, &node_hash(&leaf, &leaves[3]));
    assert_eq!((checkpoint.size(), *checkpoint.root()), (TreeSize(4), root));
    assert_eq!(checkpoint.cosignatures().len(), 1);
    let shown = witness.get(&format!("/{}/checkpoint", origin_hash(ORIGIN)));
    show("   what the witness itself shows of the log", &shown.text());
    assert_eq!(open(&shown.body).root(), &root);

    let proof = server.get("/proof/2");
    show("9. GET /proof/2: all that a verifier needs, in one file", &proof.text());
    let proof = TlogProof::parse(&proof.body).unwrap();
    assert_eq!(proof.hashes, [leaves[3], left]);
    proof.verify_inclusion(&leaf, &checkpoint).unwrap();

    let found = poll(|| {
        let answer = server.get("/vindex/lookup/key/numpy?entries=1");
        answer.text().contains(r#""tree_size":4"#).then_some(answer)
    });
    show("10. GET /vindex/lookup/key/numpy: what the log holds about that name", &found.text());
    let proof = ask_for_proof(&server, "/vindex/lookup/key/numpy?entries=1");
    show("    the same as a proof alone", &proof.text());
    let absent = server.get("/vindex/lookup/key/nampy");
    show("    and that it holds nothing about another", &absent.text());
    assert!(absent.text().contains(r#""found":false"#));
    let lookup = Lookup::parse(&proof.body).unwrap();
    let Evidence::Present { trie, entries, .. } = &lookup.evidence else { panic!("it is absent") };
    assert_eq!(trie.value.to_bytes(), *value);
    assert_eq!((lookup.anchor.0, entries[0].entry.as_slice()), (3, ENTRY));

    let waited = server.post("/add?wait=published", &[], b"and one that waits for its proof");
    show("11. POST /add?wait=published answers with the proof itself", &waited.text());
    let proof = TlogProof::parse(&waited.body).unwrap();
    assert_eq!((proof.index.0, open(proof.checkpoint.as_bytes()).cosignatures().len()), (4, 1));
    server.stop();
    witness.stop();
}

fn ask_for_proof(server: &Server, path: &str) -> Answer {
    let url = format!("{}{path}", server.url);
    request(&url, "GET", &[("Accept", "text/x.tlog.proof")], b"").unwrap()
}

/// The anchor at `size`, written by hand.
fn anchor(size: u64, root: Hash) -> String {
    format!(
        r#"{{"map_fn":"json-field:package","root":"{root_hex}","tree_size":{size},"type":"vindex-root","v":1}}"#,
        root_hex = const_hex::encode(root.0)
    )
}

fn show(what: &str, object: &str) {
    println!("\n── {what}");
    object.lines().for_each(|line| println!("   {line}"));
}

fn hex_dump(bytes: &[u8]) -> String {
    let row = |row: &[u8]| {
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            row.iter().map(|&byte| if byte.is_ascii_graphic() { byte as char } else { '.' }).collect();
        format!("{:<48}  {text}", hex.join(" "))
    };
    bytes.chunks(16).map(row).collect::<Vec<_>>().join("\n")
}
