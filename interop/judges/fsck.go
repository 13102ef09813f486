package judges

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

// Fsck judges a log by Tessera's fsck package: every bundle is read, and every tile and the root are recomputed.
//
// The fsck command must not be called instead: it exits with 0 when it found something, and can wait for ever after
// that. The same may happen to the package, which is why the verdict also comes when ctx ends.
func Fsck(ctx context.Context, log Log, workers uint) error {
	verifier, err := note.NewVerifier(log.VKey)
	if err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}
	fetcher, err := fetcherOf(log.URL)
	if err != nil {
		return err
	}
	verdict := make(chan error, 1)
	go func() {
		defer func() {
			if trouble := recover(); trouble != nil {
				verdict <- fmt.Errorf("fsck panicked: %v", trouble)
			}
		}()
		verdict <- fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: workers}).Check(ctx)
	}()
	select {
	case err := <-verdict:
		return err
	case <-ctx.Done():
		return errors.Join(errors.New("fsck gave no verdict in time, as it does when resources are bad"), ctx.Err())
	}
}

// fetcherOf reads over HTTP, or, from a file URL, the files that a log left in a directory.
func fetcherOf(address string) (fsck.Fetcher, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if base.Scheme == "file" {
		return client.FileFetcher{Root: base.Path}, nil
	}
	return client.NewHTTPFetcher(base, http.DefaultClient)
}

// leafHashes are the RFC 6962 leaf hashes of a bundle.
func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}
