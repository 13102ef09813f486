// Command judge asks golang.org/x/mod/sumdb whether a log is sound. Exit code 0: sound, 1: not.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/glasslog/glasslog/interop/judges"
)

func main() {
	var log judges.Log
	var options judges.SumdbOptions
	flag.StringVar(&log.URL, "url", "", "the log's URL, with its final slash")
	flag.StringVar(&log.VKey, "vkey", "", "the log's verifier key")
	flag.Int64Var(&options.Samples, "samples", 0, "how many entries get an inclusion proof (0: all)")
	acks := flag.String("acks", "", "what `file` of the command load says must be in the log")
	older := flag.String("older", "", "checkpoint `files`, with commas between them, that were served before")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long this may take")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	report, err := run(ctx, log, options, *acks, *older)
	if err != nil {
		fmt.Println("sumdb: NOT SOUND:", err)
		os.Exit(1)
	}
	fmt.Printf("sumdb: sound: size %d, %d entries proven, %d older trees are prefixes, %d acknowledged entries in place\n",
		report.Size, report.Inclusions, report.Consistencies, report.Acknowledged)
}

func run(ctx context.Context, log judges.Log, options judges.SumdbOptions, acks, older string) (judges.SumdbReport, error) {
	var err error
	if acks != "" {
		if options.Acknowledged, err = readAcks(acks); err != nil {
			return judges.SumdbReport{}, err
		}
	}
	for _, file := range strings.FieldsFunc(older, func(c rune) bool { return c == ',' }) {
		checkpoint, err := os.ReadFile(file)
		if err != nil {
			return judges.SumdbReport{}, err
		}
		options.Older = append(options.Older, checkpoint)
	}
	return judges.Sumdb(ctx, log, options)
}

// readAcks reads lines of an index, a space and the entry in base64.
func readAcks(file string) ([]judges.Acknowledgement, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var acks []judges.Acknowledgement
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var ack judges.Acknowledgement
		var encoded string
		if _, err := fmt.Sscanf(lines.Text(), "%d %s", &ack.Index, &encoded); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", file, len(acks)+1, err)
		}
		if ack.Entry, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", file, len(acks)+1, err)
		}
		acks = append(acks, ack)
	}
	return acks, lines.Err()
}
