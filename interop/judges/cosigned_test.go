package judges

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// cosigner is a signer whose verifier key is known.
type cosigner struct {
	note.Signer
	vkey string
}

func edCosigner(t *testing.T, name string) cosigner {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return cosigner{signer, signer.Verifier().String()}
}

func mldsaCosigner(t *testing.T, name string) cosigner {
	t.Helper()
	skey, vkey, err := f_note.GenerateMLDSAKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := f_note.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	return cosigner{signer, vkey}
}

// cosign adds lines to a signed checkpoint.
func cosign(t *testing.T, raw []byte, signers ...note.Signer) []byte {
	t.Helper()
	text := raw[:bytes.Index(raw, []byte("\n\n"))+1]
	signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return append(bytes.Clone(raw), signed[len(text)+1:]...)
}

func TestCosigned(t *testing.T) {
	files, logKey := madeLog(t, 5)
	raw := files["checkpoint"]
	ed, ml, other := edCosigner(t, "witness.example"), mldsaCosigner(t, "witness.example"), edCosigner(t, "other.example")
	policy := func(vkeys ...string) []byte {
		text := "log " + logKey + "\n"
		names := []string{"a", "b", "c"}[:len(vkeys)]
		for i, vkey := range vkeys {
			text += "witness " + names[i] + " " + vkey + "\n"
		}
		return []byte(text + "group quorum all " + strings.Join(names, " ") + "\nquorum quorum\n")
	}
	both := cosign(t, raw, ed, ml)
	demand := CosignedOptions{Policy: policy(ed.vkey), Cosigners: []string{ed.vkey, ml.vkey}, Fresh: time.Minute}
	report, err := Cosigned(Log{VKey: logKey}, both, demand)
	if err != nil {
		t.Fatal(err)
	}
	if report.Size != 5 || report.Lines != 3 || report.Cosignatures != 2 {
		t.Errorf("report %+v", report)
	}

	otherFiles, otherLog := madeLog(t, 5)
	smaller, _ := madeLog(t, 4)
	lines := cosign(t, smaller["checkpoint"], ed, ml)[len(smaller["checkpoint"]):]
	forged := bytes.Replace(both, []byte("\n5\n"), []byte("\n6\n"), 1)
	stale, early := demand, demand
	stale.Now = time.Now().Add(2 * time.Minute)
	early.Now = time.Now().Add(-6 * time.Minute)
	for name, c := range map[string]struct {
		log     string
		raw     []byte
		options CosignedOptions
	}{
		"no cosignature":                   {logKey, raw, demand},
		"only one of two":                  {logKey, cosign(t, raw, ed), demand},
		"another witness":                  {logKey, cosign(t, raw, other, ml), CosignedOptions{Policy: policy(ed.vkey)}},
		"one witness of two of the policy": {logKey, both, CosignedOptions{Policy: policy(ed.vkey, other.vkey)}},
		"another text":                     {logKey, forged, demand},
		"another log":                      {otherLog, both, demand},
		"another log in the policy":        {otherLog, cosign(t, otherFiles["checkpoint"], ed, ml), demand},
		"a line twice":                     {logKey, cosign(t, both, ed), demand},
		"cosignatures of another text":     {logKey, append(bytes.Clone(raw), lines...), demand},
		"a stale one":                      {logKey, both, stale},
		"one of the future":                {logKey, both, early},
		"a key with another ID":            {logKey, both, CosignedOptions{Cosigners: []string{strings.Replace(ed.vkey, "+", "+0", 1)}, Fresh: time.Minute}},
		"a log's key as a cosigner's":      {logKey, both, CosignedOptions{Cosigners: []string{logKey}, Fresh: time.Minute}},
	} {
		if _, err := Cosigned(Log{VKey: c.log}, c.raw, c.options); err == nil {
			t.Errorf("%s: found sound", name)
		}
	}
}

func TestMonitoringPath(t *testing.T) {
	// printf %s log.example | sha256sum
	const want = "d7612c54297eaa3e5a7756b17ce3adc5bed251af8059d72bbb8b0075c67b85e9/checkpoint"
	if got := MonitoringPath("log.example"); got != want {
		t.Errorf("MonitoringPath = %s, want %s", got, want)
	}
}
