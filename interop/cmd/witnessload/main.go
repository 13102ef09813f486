// Command witnessload loads a witness with logs of its own (c2sp.org/tlog-witness), whose names and keys are always the same:
//
//	witnessload --print keys|list|yaml       what the witness must be given to know the logs
//	witnessload --mode grow                  each request grows one log by 1, with a consistency proof
//	witnessload --mode refresh --from SIZE   each request asks for a cosignature of the present size
//	witnessload --mode race                  different trees of one size, all at once: exactly one may be cosigned
//	witnessload --fdatasync DIR              how long the disk takes to append 4 KiB and sync it
//
// All requests are made and signed before the clock runs. Exit code 0 iff all was cosigned that had to be.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

type options struct {
	url, mode, print, fdatasync, row           string
	logs, first, connections, requests, rounds int
	from                                       int64
	cosigners                                  []string
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "the witness's URL, http only, with its final slash")
	flag.StringVar(&o.mode, "mode", "grow", "grow, refresh or race")
	flag.IntVar(&o.logs, "logs", 100, "how many logs")
	flag.IntVar(&o.first, "first", 0, "the number of the first log")
	flag.Int64Var(&o.from, "from", 0, "the size that the witness holds of each log")
	flag.IntVar(&o.connections, "connections", 16, "how many connections; in a race, how many trees")
	flag.IntVar(&o.requests, "requests", 10000, "how many requests, rounded up to the same number for each log")
	flag.IntVar(&o.rounds, "rounds", 10, "how many races of each log")
	flag.Func("cosigner", "a verifier key (0x04 or 0x06) that must be in every reply; may be repeated", func(vkey string) error {
		o.cosigners = append(o.cosigners, vkey)
		return nil
	})
	flag.StringVar(&o.print, "print", "", "print the logs: keys, list (logs/v0) or yaml (omniwitness)")
	flag.StringVar(&o.fdatasync, "fdatasync", "", "measure the disk of this `directory`")
	flag.StringVar(&o.row, "row", "", "print a row of a table, which begins with this `name`, instead of a sentence")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Println("witnessload: FAILED:", err)
		os.Exit(1)
	}
}

func (o options) run() error {
	if o.fdatasync != "" {
		p50, err := fdatasync(o.fdatasync)
		if err == nil {
			fmt.Printf("%.2f\n", float64(p50.Microseconds())/1000)
		}
		return err
	}
	logs, err := newLoadLogs(o.first, o.logs)
	if err != nil {
		return err
	}
	if o.print != "" {
		return printLogs(os.Stdout, o.print, logs)
	}
	to, err := newTarget(o.url)
	if err != nil {
		return err
	}
	switch o.mode {
	case "grow":
		p, err := prepareGrow(to, logs, o.from, o.requests)
		return o.finish(to, p, err)
	case "refresh":
		p, err := prepareRefresh(to, logs, o.from, o.requests)
		return o.finish(to, p, err)
	case "race":
		r, err := race(to, logs, o.from, o.rounds, o.connections)
		if err == nil {
			fmt.Printf("witnessload: race: %d rounds of %d different trees of one size, one cosigned in each; other answers: %s\n",
				r.rounds, o.connections, r.othersText())
		}
		return err
	}
	return fmt.Errorf("--mode %s: want grow, refresh or race", o.mode)
}

// finish sends what was prepared, verifies samples of the replies and prints the figures.
func (o options) finish(to target, p prepared, err error) error {
	if err != nil {
		return err
	}
	r, err := load(to, p, o.connections)
	if err != nil {
		return err
	}
	if err := r.verify(o.cosigners); len(o.cosigners) > 0 && err != nil {
		return err
	}
	cpu := 100 * r.ownCPU.Seconds() / r.elapsed.Seconds()
	if o.row != "" {
		fmt.Printf("| %s | %s | %d | %d | %.0f | %.1f / %.1f / %.1f | %s | %d | %.0f %% |\n", o.row, o.mode, o.logs, o.connections,
			r.rate(), r.quantile(0.5), r.quantile(0.99), r.quantile(1), r.othersText(), r.replyBytes/int64(len(r.latencies)), cpu)
		return nil
	}
	fmt.Printf("witnessload: %s: %d cosigned in %.2f s, %.0f/s; p50 %.1f, p99 %.1f, max %.1f ms; other answers: %s; %d kB sent, "+
		"%d kB received; the generator used %.0f %% of a core; %d replies verified\n", o.mode, len(r.latencies), r.elapsed.Seconds(),
		r.rate(), r.quantile(0.5), r.quantile(0.99), r.quantile(1), r.othersText(), r.sent/1000, r.received/1000, cpu, r.verified)
	return nil
}

// fdatasync is the median of 300 times: append 4 KiB, fdatasync.
func fdatasync(directory string) (time.Duration, error) {
	file, err := os.CreateTemp(directory, "fdatasync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	times := make([]time.Duration, 300)
	block := make([]byte, 4096)
	for i := range times {
		began := time.Now()
		if _, err := file.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
