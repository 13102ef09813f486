// Command litewitnessdb adds logs to litewitness's database, as torchwood's witnessctl does with add-log and add-key, which
// the Go module proxy does not let one build. It reads lines of ORIGIN=VKEY, and may write while litewitness runs.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// schema is litewitness's own, so that the database may also be made before it first runs.
const schema = `
	CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
	CREATE TABLE IF NOT EXISTS key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
	CREATE TABLE IF NOT EXISTS bastion (origin TEXT NOT NULL, bastion TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
`

// emptyRoot is the SHA-256 of nothing, the root of a tree of size 0.
const emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func main() {
	path := flag.String("db", "litewitness.db", "the database `file`")
	flag.Parse()
	count, err := run(*path, os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "litewitnessdb:", err)
		os.Exit(1)
	}
	fmt.Printf("litewitnessdb: %d logs added\n", count)
}

func run(path string, logs io.Reader) (count int, err error) {
	db, err := sqlite.OpenConn(path)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	db.SetBusyTimeout(10 * time.Second)
	if err := sqlitex.ExecuteScript(db, schema, nil); err != nil {
		return 0, err
	}
	defer sqlitex.Save(db)(&err)
	lines := bufio.NewScanner(logs)
	for ; lines.Scan(); count++ {
		origin, vkey, found := strings.Cut(lines.Text(), "=")
		if _, err := note.NewVerifier(vkey); !found || err != nil {
			return count, fmt.Errorf("line %d is not ORIGIN=VKEY: %w", count+1, err)
		}
		err := sqlitex.Execute(db, "INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)",
			&sqlitex.ExecOptions{Args: []any{origin, emptyRoot}})
		if err != nil {
			return count, fmt.Errorf("line %d: %w", count+1, err)
		}
		err = sqlitex.Execute(db, "INSERT INTO key (origin, key) VALUES (?, ?)", &sqlitex.ExecOptions{Args: []any{origin, vkey}})
		if err != nil {
			return count, fmt.Errorf("line %d: %w", count+1, err)
		}
	}
	return count, lines.Err()
}
