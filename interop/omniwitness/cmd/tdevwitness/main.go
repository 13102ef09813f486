// Command tdevwitness is the witness of omniwitness (package witness of transparency-dev), with logs from flags alone and state in
// memory: it follows no public logs, so it may run where there is a network. It cosigns by two keys of its own, of types 0x04 and
// 0x06, which it prints as `glasslog witness` does.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	name := flag.String("name", "witness.example/tdev", "name of the witness")
	listen := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	logs := map[string]note.Verifier{}
	flag.Func("log", "ORIGIN=VKEY of a log; may be repeated", func(text string) error {
		origin, vkey, _ := strings.Cut(text, "=")
		verifier, err := note.NewVerifier(vkey)
		logs[origin] = verifier
		return err
	})
	flag.Parse()
	if err := run(*name, *listen, logs); err != nil {
		fmt.Fprintln(os.Stderr, "tdevwitness:", err)
		os.Exit(1)
	}
}

func run(name, listen string, logs map[string]note.Verifier) error {
	edKey, edVKey, edErr := note.GenerateKey(rand.Reader, name)
	mlKey, mlVKey, mlErr := f_note.GenerateMLDSAKey(name)
	if err := errors.Join(edErr, mlErr); err != nil {
		return err
	}
	edVKey, err := f_note.VKeyToCosignatureV1(edVKey)
	if err != nil {
		return err
	}
	var signers []note.Signer
	for _, key := range []string{edKey, mlKey} {
		signer, err := f_note.NewSignerForCosignatureV1(key)
		if err != nil {
			return err
		}
		signers = append(signers, signer)
	}
	w, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     signers,
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			verifier, known := logs[origin]
			return verifier, known, nil
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n  vkey    %s\n  vkey    %s\n", listener.Addr(), edVKey, mlVKey)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(w).AddCheckpoint)
	server := &http.Server{Handler: mux, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	return server.Serve(listener)
}
