// Command cosigvectors prints cosignatures of fixed keys, timestamps and checkpoints, as test vectors for whoever implements
// c2sp.org/tlog-cosignature. Keys are made from seeds and signatures are deterministic, so the output is always the same.
// Nothing is printed that transparency-dev/formats, and for type 0x04 torchwood, does not verify.
//
// The output is blocks that begin with `== NAME`; in a block are `KEY VALUE` lines and at its end, after a line `note`, a
// signed checkpoint, or after `line` one signature line over a subtree.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"strings"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The types of a signature (c2sp.org/signed-note).
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04
	typeMLDSA       = 0x06
)

// vector is a checkpoint and who signs it.
type vector struct {
	name, about      string
	origin, cosigner string
	size             uint64
	timestamp        uint64
}

var vectors = []vector{
	{"typical", "a witness's two cosignatures of one second", "log.example/2026", "witness.example/w1", 923748, 1764104400},
	{"empty-tree", "size 0, its root is the SHA-256 of nothing", "log.example/2026", "witness.example/w1", 0, 1},
	{"non-ascii-origin", "lengths count bytes, not characters", "журнал.example/☃", "svědek.example", 1, 1727964367},
	{"longest-names", "255 bytes each, the most that 0x06 can cover", strings.Repeat("o", 255), strings.Repeat("w", 255), 256, 1764104401},
	{"largest", "size and timestamp 2^63-1", "log.example/2026", "witness.example/w1", math.MaxInt64, math.MaxInt64},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cosigvectors:", err)
		os.Exit(1)
	}
}

// torchwood is the only 0x06 vector that others have published.
//
//go:embed torchwood.txt
var torchwoodVector string

func run() error {
	if err := printTorchwood(); err != nil {
		return fmt.Errorf("torchwood's vector: %w", err)
	}
	for _, v := range vectors {
		if err := v.print(); err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return printSubtree()
}

func (v vector) print() error {
	root := tlog.Hash(sha256.Sum256(nil))
	if v.size > 0 {
		root = tlog.RecordHash([]byte(v.name))
	}
	text := fmt.Sprintf("%s\n%d\n%v\n", v.origin, v.size, root)
	logSeed, edSeed, mlSeed := seed("log"), seed("Ed25519"), seed("ML-DSA-44")

	logKey := ed25519.NewKeyFromSeed(logSeed)
	logVKey, logID := vkeyOf(v.origin, typeEd25519, logKey.Public().(ed25519.PublicKey))
	signed := text + "\n" + signatureLine(v.origin, logID, ed25519.Sign(logKey, []byte(text)))

	edKey := ed25519.NewKeyFromSeed(edSeed)
	edVKey, edID := vkeyOf(v.cosigner, typeCosignature, edKey.Public().(ed25519.PublicKey))
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", v.timestamp, text)
	signed += signatureLine(v.cosigner, edID, timestamped(v.timestamp, ed25519.Sign(edKey, []byte(message))))

	mlVKey, line, err := subtreeLine(mlSeed, v.cosigner, v.origin, v.timestamp, 0, v.size, root)
	if err != nil {
		return err
	}
	signed += line
	if err := verify([]byte(signed), logVKey, edVKey, mlVKey); err != nil {
		return err
	}
	fmt.Printf("== %s\nabout %s\nlog-seed %x\nlog-vkey %s\ncosigner-seed-0x04 %x\ncosigner-vkey-0x04 %s\ncosigner-seed-0x06 %x\n"+
		"cosigner-vkey-0x06 %s\ntimestamp %d\nnote\n%s", v.name, v.about, logSeed, logVKey, edSeed, edVKey, mlSeed, mlVKey, v.timestamp, signed)
	return nil
}

// printTorchwood prints torchwood's vector, once its key and root are those of its seed and its leaf and formats verifies it.
func printTorchwood() error {
	head, signed, _ := strings.Cut(torchwoodVector, "\nnote\n")
	fields := map[string]string{}
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		fields[key] = value
	}
	const origin = "example.com/mldsa-log"
	seed, err := hex.DecodeString(fields["cosigner-seed-0x06"])
	if err != nil {
		return err
	}
	root := tlog.RecordHash([]byte("testonly"))
	vkey, _, err := subtreeLine(seed, origin, origin, 0, 0, 1, root)
	if err != nil {
		return err
	}
	if vkey != fields["cosigner-vkey-0x06"] {
		return fmt.Errorf("the seed gives the key %.60s", vkey)
	}
	verifier, err := f_note.NewMLDSAVerifier(vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%s\n1\n%v\n", origin, root); opened.Text != want {
		return fmt.Errorf("the text is %q, want %q", opened.Text, want)
	}
	fmt.Print(torchwoodVector)
	return nil
}

// printSubtree prints the 0x06 signature of a subtree that is no checkpoint (c2sp.org/tlog-witness, sign-subtree), whose wire
// form C2SP pull request 346 may change.
func printSubtree() error {
	const origin, cosigner, start, end = "log.example/2026", "witness.example/w1", 8, 13
	hash := tlog.RecordHash([]byte("subtree"))
	vkey, line, err := subtreeLine(seed("ML-DSA-44"), cosigner, origin, 0, start, end, hash)
	if err != nil {
		return err
	}
	verifier, err := f_note.NewMLDSAVerifier(vkey)
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Fields(line)[2])
	if err != nil {
		return err
	}
	if !verifier.VerifySubtree(0, origin, start, end, hash[:], raw[4:]) {
		return fmt.Errorf("formats does not verify the subtree's signature")
	}
	fmt.Printf("== subtree\nabout a subtree's signature has timestamp 0\norigin %s\nstart %d\nend %d\nhash %v\ncosigner-seed-0x06 %x\n"+
		"cosigner-vkey-0x06 %s\nline\n%s", origin, start, end, hash, seed("ML-DSA-44"), vkey, line)
	return nil
}

func seed(of string) []byte {
	sum := sha256.Sum256([]byte("glasslog interop " + of))
	return sum[:]
}

func vkeyOf(name string, kind byte, public []byte) (vkey string, id []byte) {
	key := append([]byte{kind}, public...)
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%s+%s", name, hex.EncodeToString(sum[:4]), base64.StdEncoding.EncodeToString(key)), sum[:4]
}

func timestamped(timestamp uint64, signature []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, timestamp), signature...)
}

func signatureLine(name string, id, signature []byte) string {
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(append(id[:4:4], signature...)))
}

// subtreeLine is the deterministic 0x06 line over the subtree [start, end); start 0 is a checkpoint.
func subtreeLine(seed []byte, cosigner, origin string, timestamp, start, end uint64, hash tlog.Hash) (vkey, line string, err error) {
	key, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil {
		return "", "", err
	}
	message := append([]byte("subtree/v1\n\x00"), byte(len(cosigner)))
	message = append(message, cosigner...)
	message = binary.BigEndian.AppendUint64(message, timestamp)
	message = append(message, byte(len(origin)))
	message = append(message, origin...)
	message = binary.BigEndian.AppendUint64(message, start)
	message = binary.BigEndian.AppendUint64(message, end)
	message = append(message, hash[:]...)
	signature, err := key.SignDeterministic(message, nil)
	if err != nil {
		return "", "", err
	}
	vkey, id := vkeyOf(cosigner, typeMLDSA, key.PublicKey().Bytes())
	return vkey, signatureLine(cosigner, id, timestamped(timestamp, signature)), nil
}

// verify asks those who did not sign.
func verify(signed []byte, logVKey, edVKey, mlVKey string) error {
	logVerifier, err := note.NewVerifier(logVKey)
	if err != nil {
		return err
	}
	edVerifier, err := torchwood.NewCosignatureVerifier(edVKey)
	if err != nil {
		return err
	}
	edFormats, err := f_note.NewVerifierForCosignatureV1(edVKey)
	if err != nil {
		return err
	}
	mlFormats, err := f_note.NewVerifierForCosignatureV1(mlVKey)
	if err != nil {
		return err
	}
	for _, verifiers := range [][]note.Verifier{{logVerifier, edVerifier, mlFormats}, {logVerifier, edFormats, mlFormats}} {
		opened, err := note.Open(signed, note.VerifierList(verifiers...))
		if err != nil {
			return err
		}
		if len(opened.Sigs) != len(verifiers) {
			return fmt.Errorf("%d of %d signatures verify", len(opened.Sigs), len(verifiers))
		}
	}
	return nil
}
