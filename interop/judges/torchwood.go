package judges

import (
	"bytes"
	"context"
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// TorchwoodReport is what judge Torchwood found sound.
type TorchwoodReport struct {
	Entries, Proofs int64
}

// Torchwood judges a log by torchwood's client, which authenticates every tile and entry against the signed root, and reads
// all entries. The log's own c2sp.org/tlog-proof answers for so many of them are verified with torchwood, too. Checkpoint and
// proofs must satisfy the policy; nil is the log's key alone.
func Torchwood(ctx context.Context, log Log, policyText []byte, proofs int64) (TorchwoodReport, error) {
	var report TorchwoodReport
	checkpoint, err := log.FetchCheckpoint(ctx)
	if err != nil {
		return report, err
	}
	parsed, err := torchwood.ParseCheckpoint(checkpoint.Text)
	if err != nil {
		return report, fmt.Errorf("torchwood.ParseCheckpoint: %w", err)
	}
	if parsed.Tree != checkpoint.Tree || parsed.Origin != checkpoint.Origin {
		return report, fmt.Errorf("torchwood reads the checkpoint as %v, sumdb as %v", parsed, checkpoint)
	}
	if policyText == nil {
		policyText = []byte("log " + log.VKey + "\nquorum none\n")
	}
	policy, err := torchwood.ParsePolicy(policyText)
	if err != nil {
		return report, fmt.Errorf("torchwood.ParsePolicy: %w", err)
	}
	if _, _, err := torchwood.VerifyCheckpoint(checkpoint.Raw, policy); err != nil {
		return report, fmt.Errorf("torchwood.VerifyCheckpoint: %w", err)
	}
	fetcher, err := torchwood.NewTileFetcher(log.URL)
	if err != nil {
		return report, err
	}
	reader, err := torchwood.NewClient(fetcher)
	if err != nil {
		return report, err
	}
	size := checkpoint.Tree.N
	every := max(1, size/max(1, proofs))
	for index, entry := range reader.AllEntries(ctx, checkpoint.Tree, 0) {
		if index != report.Entries {
			return report, fmt.Errorf("entry %d came where %d was due", index, report.Entries)
		}
		report.Entries++
		if report.Proofs < proofs && index%every == 0 {
			if err := checkProof(ctx, log, policy, index, entry); err != nil {
				return report, err
			}
			report.Proofs++
		}
	}
	if err := reader.Err(); err != nil {
		return report, err
	}
	if report.Entries != size {
		return report, fmt.Errorf("%d entries came of %d (%v)", report.Entries, size, ctx.Err())
	}
	return report, nil
}

// checkProof verifies the answer of GET /proof/{index}.
func checkProof(ctx context.Context, log Log, policy torchwood.Policy, index int64, entry []byte) error {
	path := fmt.Sprintf("proof/%d", index)
	proof, _, err := log.get(ctx, path)
	if err != nil {
		return err
	}
	if !bytes.Contains(proof, fmt.Appendf(nil, "\nindex %d\n", index)) {
		return fmt.Errorf("%s does not say index %d", path, index)
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof); err != nil {
		return fmt.Errorf("%s: torchwood.VerifyProof: %w", path, err)
	}
	return nil
}
