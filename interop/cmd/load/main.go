// Command load submits entries to a log and writes what the log acknowledged: a line of index, space and the entry in
// base64 for each. Among them are the shortest and the longest entry, bytes that are no text, and some that are
// submitted twice. With --form json or conda they are for a log with a verifiable index.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	url := flag.String("url", "", "the log's URL, with its final slash")
	count := flag.Int("count", 2000, "how many entries")
	writers := flag.Int("writers", 64, "how many requests at a time")
	form := flag.String("form", "raw", "raw, json (a member name, and what has none) or conda (entries of conda-1)")
	salt := flag.String("salt", "", "what begins every entry, so that no other run has the same ones")
	wait := flag.Duration("wait", 30*time.Second, "how long the last entry may take to be published")
	out := flag.String("acks", "", "the `file` to write")
	flag.Parse()

	if !slices.Contains([]string{"raw", "json", "conda"}, *form) {
		fmt.Println("load: no such form:", *form)
		os.Exit(64)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, *url, entries{*form, *salt, *count}, *writers, *wait, *out); err != nil {
		fmt.Println("load: FAILED:", err)
		os.Exit(1)
	}
	fmt.Printf("load: %d entries acknowledged and published\n", *count)
}

func run(ctx context.Context, url string, all entries, writers int, wait time.Duration, out string) error {
	indices, err := submit(ctx, url, all, writers)
	if err != nil {
		return err
	}
	var acks bytes.Buffer
	var last int64
	for i, index := range indices {
		fmt.Fprintf(&acks, "%d %s\n", index, base64.StdEncoding.EncodeToString(all.entry(i)))
		last = max(last, index)
	}
	if err := os.WriteFile(out, acks.Bytes(), 0o600); err != nil {
		return err
	}
	return published(ctx, url, last, wait)
}

// entries are what is submitted.
type entries struct {
	form, salt string
	count      int
}

// entry is the i-th entry; every 50th is that before it once more.
func (e entries) entry(i int) []byte {
	switch {
	case i%50 == 49:
		return e.entry(i - 1)
	case e.form == "json":
		return jsonEntry(e.salt, i)
	case e.form == "conda":
		return condaEntry(e.salt, i)
	case i == 0:
		return append([]byte(e.salt), 0)
	case i == 1:
		return append([]byte(e.salt), bytes.Repeat([]byte{0xff, '\n'}, 65535/2+1)...)[:65535]
	default:
		return fmt.Appendf(nil, "%sinterop entry %d %s", e.salt, i, strings.Repeat("x", i%700))
	}
}

func submit(ctx context.Context, url string, all entries, writers int) ([]int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = writers
	indices := make([]int64, all.count)
	work := make(chan int)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range work {
				index, err := add(ctx, url, all.entry(i))
				if err != nil {
					cancel(fmt.Errorf("entry %d: %w", i, err))
				}
				indices[i] = index
			}
		})
	}
	for i := range all.count {
		select {
		case work <- i:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(work)
	group.Wait()
	return indices, context.Cause(ctx)
}

// add submits one entry until the log takes it; 503 and 429 mean later.
func add(ctx context.Context, url string, entry []byte) (int64, error) {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"add", bytes.NewReader(entry))
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
		response.Body.Close()
		if err != nil {
			return 0, err
		}
		switch response.StatusCode {
		case http.StatusOK:
			line, _, _ := strings.Cut(string(body), "\n")
			return strconv.ParseInt(line, 10, 64)
		case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
			if err != nil {
				return 0, fmt.Errorf("%s without Retry-After in seconds", response.Status)
			}
			select {
			case <-time.After(time.Duration(seconds) * time.Second):
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		default:
			return 0, fmt.Errorf("%s: %s", response.Status, body)
		}
	}
}

// published waits until the checkpoint covers index last.
func published(ctx context.Context, url string, last int64, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"checkpoint", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("index %d is not published: %w", last, err)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		response.Body.Close()
		lines := strings.Split(string(body), "\n")
		if err == nil && len(lines) > 1 {
			if size, err := strconv.ParseInt(lines[1], 10, 64); err == nil && size > last {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}
