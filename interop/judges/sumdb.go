package judges

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// SumdbOptions says what judge Sumdb looks at besides the tree itself.
type SumdbOptions struct {
	// Samples is how many entries get an inclusion proof, spread evenly; 0 means all.
	Samples int64
	// Older are checkpoints of the same log that were served before; each must be a prefix of the present one.
	Older [][]byte
	// Acknowledged are entries with the index that the log gave when they were submitted.
	Acknowledged []Acknowledgement
}

// Acknowledgement is an entry and where the log said it is.
type Acknowledgement struct {
	Index int64
	Entry []byte
}

// SumdbReport is what judge Sumdb found sound.
type SumdbReport struct {
	Size, Inclusions, Consistencies, Acknowledged int64
}

// Sumdb judges a log by golang.org/x/mod/sumdb/note and tlog, the code behind the Go checksum database: every tile that
// a proof needs is authenticated against the signed root before it is used.
func Sumdb(ctx context.Context, log Log, options SumdbOptions) (SumdbReport, error) {
	checkpoint, err := log.FetchCheckpoint(ctx)
	if err != nil {
		return SumdbReport{}, err
	}
	s := &sumdb{ctx: ctx, log: log, tree: checkpoint.Tree, bundles: map[int64][][]byte{}}
	s.hashes = tlog.TileHashReader(s.tree, s)
	report := SumdbReport{Size: s.tree.N}
	if s.tree.N == 0 {
		return report, s.checkEmpty()
	}
	if err := s.checkContentType(); err != nil {
		return report, err
	}
	if report.Inclusions, err = s.checkSamples(options.Samples); err != nil {
		return report, err
	}
	if report.Consistencies, err = s.checkOlder(options.Older); err != nil {
		return report, err
	}
	report.Acknowledged, err = s.checkAcknowledged(options.Acknowledged)
	return report, err
}

type sumdb struct {
	ctx     context.Context
	log     Log
	tree    tlog.Tree
	hashes  tlog.HashReader
	bundles map[int64][][]byte
}

// checkEmpty demands the one root that the empty tree has (RFC 6962 §2.1).
func (s *sumdb) checkEmpty() error {
	want, err := tlog.TreeHash(0, tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, nil }))
	if err != nil || s.tree.Hash != want {
		return fmt.Errorf("root %v of size 0 is not %v (%v)", s.tree.Hash, want, err)
	}
	return nil
}

func (s *sumdb) checkContentType() error {
	width := int(min(s.tree.N, tileWidth))
	path := tilePath("0", 0)
	if width < tileWidth {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	_, header, err := s.log.get(s.ctx, path)
	if err != nil {
		return err
	}
	if got := header.Get("Content-Type"); got != "application/octet-stream" {
		return fmt.Errorf("%s has Content-Type %q, want application/octet-stream", path, got)
	}
	return nil
}

// checkSamples proves entries spread over the log, the last one always among them.
func (s *sumdb) checkSamples(samples int64) (int64, error) {
	if samples <= 0 || samples > s.tree.N {
		samples = s.tree.N
	}
	for k := range samples {
		index := s.tree.N - 1 - k*s.tree.N/samples
		entry, err := s.entry(index)
		if err != nil {
			return k, err
		}
		if err := s.checkInclusion(index, entry); err != nil {
			return k, err
		}
	}
	return samples, nil
}

func (s *sumdb) checkInclusion(index int64, entry []byte) error {
	proof, err := tlog.ProveRecord(s.tree.N, index, s.hashes)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	if err := tlog.CheckRecord(proof, s.tree.N, s.tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return nil
}

// checkOlder proves that each older checkpoint, and half of the tree, is a prefix of the present one.
func (s *sumdb) checkOlder(older [][]byte) (int64, error) {
	half := tlog.Tree{N: (s.tree.N + 1) / 2}
	var err error
	if half.Hash, err = tlog.TreeHash(half.N, s.hashes); err != nil {
		return 0, fmt.Errorf("root at size %d: %w", half.N, err)
	}
	trees := []tlog.Tree{half}
	for _, raw := range older {
		checkpoint, err := s.log.OpenCheckpoint(raw)
		if err != nil {
			return 0, fmt.Errorf("older %w", err)
		}
		if checkpoint.Tree.N > 0 {
			trees = append(trees, checkpoint.Tree)
		}
	}
	for k, old := range trees {
		proof, err := tlog.ProveTree(s.tree.N, old.N, s.hashes)
		if err != nil {
			return int64(k), fmt.Errorf("size %d to %d: %w", old.N, s.tree.N, err)
		}
		if err := tlog.CheckTree(proof, s.tree.N, s.tree.Hash, old.N, old.Hash); err != nil {
			return int64(k), fmt.Errorf("size %d to %d: %w", old.N, s.tree.N, err)
		}
	}
	return int64(len(trees)), nil
}

// checkAcknowledged demands that the log holds at each acknowledged index what was submitted.
func (s *sumdb) checkAcknowledged(acknowledged []Acknowledgement) (int64, error) {
	for k, ack := range acknowledged {
		if ack.Index >= s.tree.N {
			return int64(k), fmt.Errorf("index %d was acknowledged; the log has %d entries", ack.Index, s.tree.N)
		}
		entry, err := s.entry(ack.Index)
		if err != nil {
			return int64(k), err
		}
		if !bytes.Equal(entry, ack.Entry) {
			return int64(k), fmt.Errorf("index %d was acknowledged for other bytes than it holds", ack.Index)
		}
		if err := s.checkInclusion(ack.Index, entry); err != nil {
			return int64(k), err
		}
	}
	return int64(len(acknowledged)), nil
}

func (s *sumdb) entry(index int64) ([]byte, error) {
	n := index / tileWidth
	entries, known := s.bundles[n]
	if !known {
		width := int(min(s.tree.N-n*tileWidth, tileWidth))
		bundle, err := s.log.getPartial(s.ctx, tilePath("entries", n), width)
		if err != nil {
			return nil, err
		}
		if entries, err = splitBundle(bundle, width); err != nil {
			return nil, fmt.Errorf("bundle %d: %w", n, err)
		}
		s.bundles[n] = entries
	}
	return entries[index%tileWidth], nil
}

// Height implements tlog.TileReader.
func (s *sumdb) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader. tlog demands exactly W hashes, so a full tile in place of a partial one is cut.
func (s *sumdb) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		body, err := s.log.getPartial(s.ctx, tilePath(strconv.Itoa(tile.L), tile.N), tile.W)
		if err != nil {
			return nil, err
		}
		if len(body) == tileWidth*tlog.HashSize {
			body = body[:tile.W*tlog.HashSize]
		}
		data[i] = body
	}
	return data, nil
}

// SaveTiles implements tlog.TileReader.
func (s *sumdb) SaveTiles([]tlog.Tile, [][]byte) {}
