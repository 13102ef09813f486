package judges

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// CosignedOptions says which cosignatures judge Cosigned demands.
type CosignedOptions struct {
	// Policy is a c2sp.org/tlog-policy that torchwood must find satisfied; nil asks for none. Its witnesses are of type
	// 0x04: torchwood v0.9.0 knows no other.
	Policy []byte
	// Cosigners are verifier keys of type 0x04 or 0x06, each of which must have cosigned.
	Cosigners []string
	// Fresh is how old a cosignature of Cosigners may be.
	Fresh time.Duration
	// Now is the time that Fresh counts from; zero means the time of the judgement.
	Now time.Time
}

// CosignedReport is what judge Cosigned found sound.
type CosignedReport struct {
	Size          int64
	Lines         int   // signature lines of the checkpoint
	Cosignatures  int   // those of CosignedOptions.Cosigners
	OldestSeconds int64 // the age of the oldest of them
}

// maxClockSkew is how far in the future a cosignature may be.
const maxClockSkew = 5 * time.Minute

// Cosigned judges a signed checkpoint by torchwood's policies, and its cosignatures, one by one, by transparency-dev/formats,
// which knows Ed25519 (0x04) and ML-DSA-44 (0x06).
func Cosigned(log Log, raw []byte, options CosignedOptions) (CosignedReport, error) {
	checkpoint, err := log.OpenCheckpoint(raw)
	if err != nil {
		return CosignedReport{}, err
	}
	report := CosignedReport{Size: checkpoint.Tree.N}
	if report.Lines, err = checkLines(raw); err != nil {
		return report, err
	}
	if options.Policy != nil {
		policy, err := torchwood.ParsePolicy(options.Policy)
		if err != nil {
			return report, fmt.Errorf("torchwood.ParsePolicy: %w", err)
		}
		parsed, _, err := torchwood.VerifyCheckpoint(raw, policy)
		if err != nil {
			return report, fmt.Errorf("torchwood.VerifyCheckpoint: %w", err)
		}
		if parsed.Tree != checkpoint.Tree {
			return report, fmt.Errorf("torchwood reads the checkpoint as %v, sumdb as %v", parsed, checkpoint)
		}
	}
	now := options.Now
	if now.IsZero() {
		now = time.Now()
	}
	for _, vkey := range options.Cosigners {
		at, err := checkCosignature(raw, vkey)
		if err != nil {
			return report, err
		}
		age := now.Sub(at)
		if age > options.Fresh || age < -maxClockSkew {
			return report, fmt.Errorf("cosignature of %.60s is %v old, want at most %v", vkey, age, options.Fresh)
		}
		report.OldestSeconds = max(report.OldestSeconds, int64(age.Seconds()))
		report.Cosignatures++
	}
	return report, nil
}

// checkCosignature verifies the one line of a key and returns its timestamp.
func checkCosignature(raw []byte, vkey string) (time.Time, error) {
	verifier, err := f_note.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return time.Time{}, fmt.Errorf("verifier key %.60s: %w", vkey, err)
	}
	// formats believes the key's name and ID; neither may be other than what it computes.
	if !strings.HasPrefix(vkey, fmt.Sprintf("%s+%08x+", verifier.Name(), verifier.KeyHash())) {
		return time.Time{}, fmt.Errorf("verifier key %.60s: the ID is not that of a cosigner's key, %08x", vkey, verifier.KeyHash())
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return time.Time{}, fmt.Errorf("cosignature of %.60s: %w", vkey, err)
	}
	at, err := f_note.CoSigV1Timestamp(opened.Sigs[0])
	if err == nil && at.Unix() <= 0 {
		err = fmt.Errorf("cosignature of %.60s has the timestamp %d", vkey, at.Unix())
	}
	return at, err
}

// checkLines demands that no two signature lines are of one name and key ID, which note.Open passes over, and counts them.
func checkLines(raw []byte) (int, error) {
	_, err := note.Open(raw, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	type key struct {
		name string
		id   uint32
	}
	keys := map[key]bool{}
	for _, signature := range unverified.Note.UnverifiedSigs {
		keys[key{signature.Name, signature.Hash}] = true
	}
	lines := bytes.Count(raw[len(unverified.Note.Text)+1:], []byte("\n"))
	if lines != len(keys) {
		return lines, fmt.Errorf("checkpoint has %d signature lines of %d keys", lines, len(keys))
	}
	return lines, nil
}

// MonitoringPath is where a witness serves what it cosigned last of a log (c2sp.org/tlog-witness, "Monitoring").
func MonitoringPath(origin string) string {
	return fmt.Sprintf("%x/checkpoint", sha256.Sum256([]byte(origin)))
}

// FetchSigned reads one checkpoint, unverified, at a path below the URL; it must be plain text.
func FetchSigned(ctx context.Context, url, path string) ([]byte, error) {
	raw, header, err := Log{URL: url}.get(ctx, path)
	if err != nil {
		return nil, err
	}
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		return nil, fmt.Errorf("%s has Content-Type %q, want text/plain", path, got)
	}
	return raw, nil
}
