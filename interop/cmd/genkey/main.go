// Command genkey makes what the programs of others need to be started with: a signing key, or a free port.
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"os"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	out := flag.String("out", "", "the `file` to write the signing key to; the verifier key is printed")
	mldsa := flag.Bool("mldsa", false, "make an ML-DSA-44 cosigner's key (0x06), not an Ed25519 key (0x01)")
	port := flag.Bool("free-port", false, "print a port of 127.0.0.1 that nobody listens on")
	flag.Parse()
	if err := run(*out, flag.Arg(0), *mldsa, *port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out, name string, mldsa, port bool) error {
	if port {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		return listener.Close()
	}
	generate := func(name string) (string, string, error) { return note.GenerateKey(rand.Reader, name) }
	if mldsa {
		generate = f_note.GenerateMLDSAKey
	}
	skey, vkey, err := generate(name)
	if err != nil {
		return err
	}
	fmt.Println(vkey)
	return os.WriteFile(out, []byte(skey), 0o600)
}
