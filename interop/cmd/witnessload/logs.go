package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// loadLog is one of the logs, whose name and key are always the same for its number.
type loadLog struct {
	origin, vkey string
	signer       note.Signer
}

func newLoadLog(number int) (loadLog, error) {
	origin := fmt.Sprintf("load%04d.example/log", number)
	seed := sha256.Sum256([]byte("witnessload " + origin))
	key := ed25519.NewKeyFromSeed(seed[:])
	vkey, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return loadLog{}, err
	}
	id := vkey[len(origin)+1 : len(origin)+9]
	skey := base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + id + "+" + skey)
	return loadLog{origin, vkey, signer}, err
}

func newLoadLogs(first, count int) ([]loadLog, error) {
	logs := make([]loadLog, count)
	for i := range logs {
		var err error
		if logs[i], err = newLoadLog(first + i); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

// checkpoint is the log's signed checkpoint of a tree.
func (l loadLog) checkpoint(tree tlog.Tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%v\n", l.origin, tree.N, tree.Hash)}, l.signer)
}

// addCheckpoint is the body of a request to add-checkpoint.
func (l loadLog) addCheckpoint(old int64, proof tlog.TreeProof, tree tlog.Tree) ([]byte, error) {
	body := fmt.Appendf(nil, "old %d\n", old)
	for _, hash := range proof {
		body = fmt.Appendf(body, "%v\n", hash)
	}
	signed, err := l.checkpoint(tree)
	return append(append(body, '\n'), signed...), err
}

// printLogs writes what a witness must be given to know the logs.
func printLogs(out io.Writer, format string, logs []loadLog) error {
	line := map[string]string{
		"keys": "%[1]s=%[2]s\n",
		"list": "\nvkey %[2]s\norigin %[1]s\nqpd 100000000\ncontact nobody\n",
		"yaml": "  - Origin: %[1]s\n    URL: http://127.0.0.1:1/\n    PublicKey: %[2]s\n    Feeder: none\n",
	}[format]
	if line == "" {
		return fmt.Errorf("--print %s: want keys, list or yaml", format)
	}
	fmt.Fprint(out, map[string]string{"list": "logs/v0\n", "yaml": "Logs:\n"}[format])
	for _, log := range logs {
		if _, err := fmt.Fprintf(out, line, log.origin, log.vkey); err != nil {
			return err
		}
	}
	return nil
}

// tree is a growing Merkle tree with the root of every size.
type tree struct {
	hashes []tlog.Hash
	roots  []tlog.Hash // roots[n] is that of size n
}

func newTree() *tree { return &tree{roots: []tlog.Hash{sha256.Sum256(nil)}} }

// fork is a copy that grows by itself.
func (t *tree) fork() *tree {
	return &tree{hashes: t.hashes[:len(t.hashes):len(t.hashes)], roots: t.roots[:len(t.roots):len(t.roots)]}
}

func (t *tree) size() int64 { return int64(len(t.roots)) - 1 }

// at is the tree of a size up to the present one.
func (t *tree) at(size int64) tlog.Tree { return tlog.Tree{N: size, Hash: t.roots[size]} }

func (t *tree) append(leaf []byte) error {
	stored, err := tlog.StoredHashes(t.size(), leaf, t)
	if err != nil {
		return err
	}
	t.hashes = append(t.hashes, stored...)
	root, err := tlog.TreeHash(t.size()+1, t)
	t.roots = append(t.roots, root)
	return err
}

// proof is that the tree of size old is a prefix of that of size size; none is needed of the empty tree.
func (t *tree) proof(old, size int64) (tlog.TreeProof, error) {
	if old == 0 || old == size {
		return nil, nil
	}
	return tlog.ProveTree(size, old, t)
}

// ReadHashes implements tlog.HashReader.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = t.hashes[index]
	}
	return found, nil
}
