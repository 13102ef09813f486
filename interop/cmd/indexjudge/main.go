// Command indexjudge asks whether the verifiable index of a log is right. Exit code 0: right, 1: not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/glasslog/glasslog/interop/judges"
)

func main() {
	var log judges.Log
	var options judges.IndexOptions
	flag.StringVar(&log.URL, "url", "", "the log's URL, with its final slash")
	flag.StringVar(&log.VKey, "vkey", "", "the log's verifier key")
	mapFn := flag.String("map-fn", "conda-1", "the `name` of the map function: conda-1 or json-field:<f>")
	flag.IntVar(&options.Lookups, "lookups", 100, "how many names that the log holds are asked for, and as many that it does not hold")
	flag.BoolVar(&options.NoFlips, "no-flips", false, "leave out the changed proof files")
	older := flag.String("older", "", "checkpoint `files`, with commas between them, that were served before")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long this may take")
	flag.Parse()

	options.MapFn = judges.MapFn(*mapFn)
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report, err := run(ctx, log, options, *older)
	if err != nil {
		fmt.Println("index: NOT RIGHT:", err)
		os.Exit(1)
	}
	fmt.Printf("index: right: size %d, %d keys, %d anchors recomputed (%d void), %d checkpoints end in one, %d present and %d absent proven, "+
		"%d changed proofs refused\n", report.Size, report.Keys, report.Anchors, report.Void, report.Checkpoints, report.Present, report.Absent, report.Refused)
}

func run(ctx context.Context, log judges.Log, options judges.IndexOptions, older string) (judges.IndexReport, error) {
	for _, file := range strings.FieldsFunc(older, func(c rune) bool { return c == ',' }) {
		checkpoint, err := os.ReadFile(file)
		if err != nil {
			return judges.IndexReport{}, err
		}
		options.Older = append(options.Older, checkpoint)
	}
	return judges.Index(ctx, log, options)
}
