// Command torchwoodjudge asks torchwood's client whether a log is sound. Exit code 0: sound, 1: not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/glasslog/glasslog/interop/judges"
)

func main() {
	var log judges.Log
	flag.StringVar(&log.URL, "url", "", "the log's URL, with its final slash")
	flag.StringVar(&log.VKey, "vkey", "", "the log's verifier key")
	proofs := flag.Int64("proofs", 0, "of how many entries GET /proof/{index} is verified")
	policy := flag.String("policy", "", "the `file` of a c2sp.org/tlog-policy that checkpoint and proofs must satisfy; by default the log's key alone")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long this may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report, err := run(ctx, log, *policy, *proofs)
	if err != nil {
		fmt.Println("torchwood: NOT SOUND:", err)
		os.Exit(1)
	}
	fmt.Printf("torchwood: sound: %d entries read, %d tlog-proofs verified\n", report.Entries, report.Proofs)
}

func run(ctx context.Context, log judges.Log, policy string, proofs int64) (judges.TorchwoodReport, error) {
	var text []byte
	if policy != "" {
		var err error
		if text, err = os.ReadFile(policy); err != nil {
			return judges.TorchwoodReport{}, err
		}
	}
	return judges.Torchwood(ctx, log, text, proofs)
}
