// Command fsckjudge asks Tessera's fsck package whether a log is sound. Exit code 0: sound, 1: not, or no verdict in time.
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
	flag.StringVar(&log.URL, "url", "", "the log's URL, with its final slash; file:///absolute/directory works, too")
	flag.StringVar(&log.VKey, "vkey", "", "the log's verifier key")
	workers := flag.Uint("workers", 4, "how many resources are read at a time")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long this may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := judges.Fsck(ctx, log, *workers); err != nil {
		fmt.Println("tessera fsck: NOT SOUND:", err)
		os.Exit(1)
	}
	fmt.Println("tessera fsck: sound: every bundle, tile and the root recomputed")
}
