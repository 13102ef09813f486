//! The life of an entry, each object printed as it comes to be: `cargo test --test it life_of_an_entry -- --nocapture`.
//!
//! One entry travels from `POST /add` to a proof under a cosigned checkpoint, through the real binary and real HTTP. What
//! each step leaves behind is shown as a person would read it, and checked by hashing that is done here by hand.

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::VerifiedCheckpoint,
    hash::{leaf_hash, node_hash},
    note::VerifierKey,
    proof::TlogProof,
    witness::origin_hash,
};

use crate::support::{Server, home, poll, run};

const ORIGIN: &str = "log.example/life";
const FIRST: &[u8] = b"the entry before";
const ENTRY: &[u8] = b"numpy 1.26.4, as it was published";

#[test]
fn life_of_an_entry() {
    let home = home();
    let home = home.path();
    let (code, vkey, stderr) = run(home, &["key", "new", ORIGIN, "--out", "log/log.key"]);
    assert_eq!(code, 0, "{stderr}");
    let witness = Server::witness(home, &["--log", &format!("{ORIGIN}={}", vkey.trim())]);
    let external = format!("w={}={}", witness.url, witness.vkey);
    let server = Server::start(home, &["--dir", "log", "--external-witnesses", &external]);
    let key: VerifierKey = server.vkey.parse().unwrap();
    let cosigner: VerifierKey = witness.vkey.parse().unwrap();
    show("the log", &format!("origin {}\nvkey   {}", server.origin, server.vkey));
    show("its witness", &format!("vkey   {}", witness.vkey));
    // The witness has confirmed the log's state by then, and cosigned it.
    poll(|| (server.get("/ready").status == 200).then_some(()));
    show("0. before anything is added, a checkpoint of size 0 is public", &server.wait_for_size(0));
    server.add(FIRST);

    let answer = server.post("/add", &[], ENTRY);
    show("1. POST /add", &String::from_utf8_lossy(ENTRY));
    show("2. 200: pooled, committed with its batch, and durable at this index", answer.text().trim());
    assert_eq!((answer.status, answer.text().as_str()), (200, "1\n"));

    let again = server.post("/add", &[], ENTRY);
    show("   the same bytes again: no new index", &again.head);
    assert!(again.head.to_ascii_lowercase().contains("glasslog-duplicate: true"));
    assert_eq!(again.text(), "1\n");

    let leaf = leaf_hash(ENTRY);
    show("3. integrated: its leaf hash, SHA-256(0x00 ‖ entry)", &leaf.to_string());
    let note = server.wait_for_size(2);

    let bundle = server.get("/tile/entries/000.p/2");
    show("4. the entry bundle, a 16-bit length before each entry", &hex_dump(&bundle.body));
    assert_eq!(bundle.body, [&[0, 16], FIRST, &[0, 33], ENTRY].concat());

    let tile = server.get("/tile/0/000.p/2");
    show("5. the level-0 tile, one leaf hash after the other", &hex_dump(&tile.body));
    assert_eq!(tile.body, [leaf_hash(FIRST).0, leaf.0].concat());

    let (text, lines) = note.split_once("\n\n").unwrap();
    let (own, others) = lines.split_once('\n').unwrap();
    show("6. cut, signed and recorded: what the witness is asked about", &format!("{text}\n\n{own}"));
    show("7. the witness cosigns what continues the tree that it knows", others);
    show("8. at quorum, public: the cosigned checkpoint", &note);
    let keys = [key];
    let cosigners = [cosigner];
    let open = |note: &[u8]| {
        VerifiedCheckpoint::open_with_witnesses(note, &server.origin, &keys, &cosigners).unwrap()
    };
    let checkpoint = open(note.as_bytes());
    let root: Hash = node_hash(&leaf_hash(FIRST), &leaf);
    assert_eq!((checkpoint.size(), *checkpoint.root()), (TreeSize(2), root));
    assert_eq!(checkpoint.cosignatures().len(), 1);
    let shown = witness.get(&format!("/{}/checkpoint", origin_hash(ORIGIN)));
    show("   what the witness itself shows of the log", &shown.text());
    assert_eq!(open(&shown.body).root(), &root);

    let proof = server.get("/proof/1");
    show("9. GET /proof/1: all that a verifier needs, in one file", &proof.text());
    let proof = TlogProof::parse(&proof.body).unwrap();
    assert_eq!(proof.hashes, [leaf_hash(FIRST)]);
    proof.verify_inclusion(&leaf, &checkpoint).unwrap();

    let waited = server.post("/add?wait=published", &[], b"and one that waits for its proof");
    show("10. POST /add?wait=published answers with the proof itself", &waited.text());
    let proof = TlogProof::parse(&waited.body).unwrap();
    assert_eq!((proof.index.0, open(proof.checkpoint.as_bytes()).cosignatures().len()), (2, 1));
    server.stop();
    witness.stop();
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
