package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	f_note "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// maxSamples is how many replies are kept and verified after the run.
const maxSamples = 500

// step is one request of one log.
type step struct {
	request []byte
	signed  []byte // the checkpoint in it
}

// prepared is all that will be sent, made and signed before the clock runs.
type prepared struct {
	steps [][]step // of each log
	total int
}

// prepareGrow makes requests that each grow one log by 1.
func prepareGrow(t target, logs []loadLog, from int64, requests int) (prepared, error) {
	each := (requests + len(logs) - 1) / len(logs)
	shared, err := sharedTree(from + int64(each))
	if err != nil {
		return prepared{}, err
	}
	p := prepared{steps: make([][]step, len(logs)), total: each * len(logs)}
	for old := from; old < from+int64(each); old++ {
		proof, err := shared.proof(old, old+1)
		if err != nil {
			return prepared{}, err
		}
		for i, log := range logs {
			body, err := log.addCheckpoint(old, proof, shared.at(old+1))
			if err != nil {
				return prepared{}, err
			}
			p.steps[i] = append(p.steps[i], newStep(t, body))
		}
	}
	return p, nil
}

// prepareRefresh makes requests that each ask for the present size once more.
func prepareRefresh(t target, logs []loadLog, size int64, requests int) (prepared, error) {
	each := (requests + len(logs) - 1) / len(logs)
	shared, err := sharedTree(size)
	if err != nil {
		return prepared{}, err
	}
	p := prepared{steps: make([][]step, len(logs)), total: each * len(logs)}
	for i, log := range logs {
		body, err := log.addCheckpoint(size, nil, shared.at(size))
		if err != nil {
			return prepared{}, err
		}
		p.steps[i] = slices.Repeat([]step{newStep(t, body)}, each)
	}
	return p, nil
}

// sharedTree is the tree of all logs: a witness gains nothing from that, and the generator is spared the work.
func sharedTree(size int64) (*tree, error) {
	t := newTree()
	for t.size() < size {
		if err := t.append(fmt.Appendf(nil, "entry %d", t.size())); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func newStep(t target, body []byte) step {
	request := t.request(body)
	_, signed, _ := strings.Cut(string(body), "\n\n")
	return step{request, []byte(signed)}
}

// report is what a run measured.
type report struct {
	latencies       []time.Duration // of the answers 200
	others          map[int]int     // other statuses
	samples         [][]byte        // checkpoints with what the witness added
	sent, received  int64
	replyBytes      int64 // bodies of the answers 200
	elapsed, ownCPU time.Duration
	verified        int // samples
}

// load sends what was prepared over so many connections; a log waits for its answer before its next request.
func load(t target, p prepared, connections int) (report, error) {
	queue := make(chan int, len(p.steps))
	for i := range p.steps {
		queue <- i
	}
	next := make([]int, len(p.steps))
	var finished atomic.Int64
	stop := make(chan struct{})
	var stopOnce sync.Once
	every := max(1, p.total/maxSamples)

	worker := func(c *client, r *report) error {
		for {
			var log int
			select {
			case log = <-queue:
			case <-stop:
				return nil
			}
			s := p.steps[log][next[log]]
			began := time.Now()
			status, body, err := c.do(s.request)
			if err != nil {
				return err
			}
			switch status {
			case http.StatusOK:
				r.latencies = append(r.latencies, time.Since(began))
				r.replyBytes += int64(len(body))
				if len(r.latencies)%every == 0 {
					r.samples = append(r.samples, append(slices.Clone(s.signed), body...))
				}
				if next[log]++; next[log] < len(p.steps[log]) {
					queue <- log
				} else if finished.Add(1) == int64(len(p.steps)) {
					stopOnce.Do(func() { close(stop) })
				}
			case http.StatusTooManyRequests, http.StatusServiceUnavailable:
				r.others[status]++
				time.Sleep(2 * time.Millisecond)
				queue <- log
			case http.StatusConflict:
				return fmt.Errorf("409: the witness holds size %q of a log: begin --from there, with another --first, or anew", body)
			default:
				return fmt.Errorf("status %d: %.200q", status, body)
			}
		}
	}
	return parallel(t, connections, worker, func() { stopOnce.Do(func() { close(stop) }) })
}

// parallel runs a worker for each connection and adds up what they report; the first error ends all.
func parallel(t target, connections int, worker func(*client, *report) error, cancel func()) (report, error) {
	clients := make([]*client, connections)
	reports := make([]report, connections)
	errs := make([]error, connections)
	for i := range clients {
		var err error
		if clients[i], err = t.dial(); err != nil {
			return report{}, err
		}
		defer clients[i].Close()
		reports[i].others = map[int]int{}
	}
	cpuBefore, began := ownCPU(), time.Now()
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() {
			if errs[i] = worker(c, &reports[i]); errs[i] != nil {
				cancel()
			}
		})
	}
	group.Wait()
	all := report{others: map[int]int{}, elapsed: time.Since(began), ownCPU: ownCPU() - cpuBefore}
	for i, r := range reports {
		all.latencies = append(all.latencies, r.latencies...)
		all.samples = append(all.samples, r.samples...)
		all.replyBytes += r.replyBytes
		for status, count := range r.others {
			all.others[status] += count
		}
		all.sent += clients[i].sent
		all.received += clients[i].received
	}
	slices.Sort(all.latencies)
	return all, firstOf(errs)
}

// firstOf is the first error of some: what follows it often says the same.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ownCPU is the CPU time that this process has used, user and system.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// verify demands of every sample that each of the cosigners signed it, and that nobody else did.
func (r *report) verify(cosigners []string) error {
	verifiers := make([]note.Verifier, len(cosigners))
	for i, vkey := range cosigners {
		var err error
		if verifiers[i], err = f_note.NewVerifierForCosignatureV1(vkey); err != nil {
			return fmt.Errorf("--cosigner %.60s: %w", vkey, err)
		}
	}
	for _, sample := range r.samples {
		opened, err := note.Open(sample, note.VerifierList(verifiers...))
		if err != nil {
			return fmt.Errorf("a reply is no cosignature: %w", err)
		}
		if len(opened.Sigs) != len(verifiers) || len(opened.UnverifiedSigs) != 1 {
			return fmt.Errorf("a reply has cosignatures of %d of %d keys and %d lines more: %q", len(opened.Sigs), len(verifiers),
				len(opened.UnverifiedSigs)-1, sample)
		}
	}
	r.verified = len(r.samples)
	return nil
}

// quantile is in milliseconds.
func (r *report) quantile(q float64) float64 {
	if len(r.latencies) == 0 {
		return 0
	}
	return float64(r.latencies[int(q*float64(len(r.latencies)-1))].Microseconds()) / 1000
}

func (r *report) rate() float64 { return float64(len(r.latencies)) / r.elapsed.Seconds() }

// othersText lists the other answers by status.
func (r *report) othersText() string {
	if len(r.others) == 0 {
		return "none"
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(r.others)) {
		parts = append(parts, fmt.Sprintf("%d x %d", r.others[status], status))
	}
	return strings.Join(parts, ", ")
}
