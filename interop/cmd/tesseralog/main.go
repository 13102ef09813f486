// Command tesseralog is a log of Tessera's, on the POSIX driver, that publishes only what its witness cosigned: Tessera's own
// witness client, against a witness that is not Tessera's. It adds entries in rounds, each of them published before the
// next begins, and leaves the log in its directory, where a second run continues.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

type options struct {
	directory, key, policy string
	rounds, entries        int
	timeout                time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.directory, "dir", "", "the log's `directory`")
	flag.StringVar(&o.key, "private-key", "", "the `file` of the log's signing key, as genkey makes it")
	flag.StringVar(&o.policy, "policy", "", "the `file` of a tlog-policy with the witnesses' URLs, as Tessera reads it")
	flag.IntVar(&o.rounds, "rounds", 3, "how many times entries are added and published")
	flag.IntVar(&o.entries, "entries", 100, "how many entries a round")
	flag.DurationVar(&o.timeout, "timeout", time.Minute, "how long this may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	size, err := run(ctx, o)
	if err != nil {
		fmt.Println("tesseralog: FAILED:", err)
		os.Exit(1)
	}
	fmt.Printf("tesseralog: size %d published, in %d rounds, by quorum of its policy\n", size, o.rounds)
}

func run(ctx context.Context, o options) (uint64, error) {
	skey, err := os.ReadFile(o.key)
	if err != nil {
		return 0, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", o.key, err)
	}
	policy, err := os.ReadFile(o.policy)
	if err != nil {
		return 0, err
	}
	witnesses, err := tessera.NewWitnessGroupFromPolicy(policy)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", o.policy, err)
	}
	driver, err := posix.New(ctx, posix.Config{Path: o.directory})
	if err != nil {
		return 0, err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(uint(o.entries), 100*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: 5 * time.Second}))
	if err != nil {
		return 0, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 20*time.Millisecond)
	var size uint64
	for range o.rounds {
		if size, err = addRound(ctx, appender, awaiter, o.entries); err != nil {
			break
		}
	}
	return size, errors.Join(err, shutdown(ctx))
}

// addRound adds entries, waits until a checkpoint covers them, and returns the size that they need.
func addRound(ctx context.Context, appender *tessera.Appender, awaiter *tessera.PublicationAwaiter, entries int) (uint64, error) {
	futures := make([]tessera.IndexFuture, entries)
	for i := range futures {
		futures[i] = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s entry %d", time.Now(), i)))
	}
	var size uint64
	for _, future := range futures {
		index, _, err := awaiter.Await(ctx, future)
		if err != nil {
			return size, err
		}
		size = max(size, index.Index+1)
	}
	return size, nil
}
