// Command cosignjudge asks torchwood and transparency-dev/formats whether a checkpoint carries the cosignatures that it
// should: of a log at --url, or of what a witness at --witness serves of it. Exit code 0: it does, 1: it does not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/glasslog/glasslog/interop/judges"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	var log judges.Log
	var options judges.CosignedOptions
	flag.StringVar(&log.URL, "url", "", "the log's URL, with its final slash; file:///absolute/directory/ works, too")
	flag.StringVar(&log.VKey, "vkey", "", "the log's verifier key")
	witness := flag.String("witness", "", "a witness's monitoring URL, with its final slash: its checkpoint is judged, not the log's")
	policy := flag.String("policy", "", "the `file` of a c2sp.org/tlog-policy that must be satisfied")
	flag.Func("cosigner", "a verifier key (0x04 or 0x06) that must have cosigned; may be repeated", func(vkey string) error {
		options.Cosigners = append(options.Cosigners, vkey)
		return nil
	})
	flag.DurationVar(&options.Fresh, "fresh", time.Minute, "how old the cosignatures may be")
	minSize := flag.Int64("min-size", 0, "the least size of the tree")
	timeout := flag.Duration("timeout", time.Minute, "how long this may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report, err := run(ctx, log, *witness, *policy, options)
	if err == nil && report.Size < *minSize {
		err = fmt.Errorf("size %d, want at least %d", report.Size, *minSize)
	}
	if err != nil {
		fmt.Println("cosignatures: NOT SOUND:", err)
		os.Exit(1)
	}
	fmt.Printf("cosignatures: sound: size %d, %d signature lines, %d cosigners' verified, the oldest %d s old\n",
		report.Size, report.Lines, report.Cosignatures, report.OldestSeconds)
}

func run(ctx context.Context, log judges.Log, witness, policy string, options judges.CosignedOptions) (judges.CosignedReport, error) {
	raw, err := fetch(ctx, log, witness)
	if err != nil {
		return judges.CosignedReport{}, err
	}
	if policy != "" {
		if options.Policy, err = os.ReadFile(policy); err != nil {
			return judges.CosignedReport{}, err
		}
	}
	return judges.Cosigned(log, raw, options)
}

func fetch(ctx context.Context, log judges.Log, witness string) ([]byte, error) {
	if witness != "" {
		verifier, err := note.NewVerifier(log.VKey)
		if err != nil {
			return nil, fmt.Errorf("verifier key: %w", err)
		}
		return judges.FetchSigned(ctx, witness, judges.MonitoringPath(verifier.Name()))
	}
	if directory, isFile := strings.CutPrefix(log.URL, "file://"); isFile {
		return os.ReadFile(directory + "checkpoint")
	}
	return judges.FetchSigned(ctx, log.URL, "checkpoint")
}
