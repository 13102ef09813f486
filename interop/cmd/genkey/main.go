// Command genkey makes what Tessera's conformance server needs to be started with: a signing key, or a free port.
package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"os"

	"golang.org/x/mod/sumdb/note"
)

func main() {
	out := flag.String("out", "", "the `file` to write the signing key to; the verifier key is printed")
	port := flag.Bool("free-port", false, "print a port of 127.0.0.1 that nobody listens on")
	flag.Parse()
	if err := run(*out, flag.Arg(0), *port); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out, name string, port bool) error {
	if port {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		return listener.Close()
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	fmt.Println(vkey)
	return os.WriteFile(out, []byte(skey), 0o600)
}
