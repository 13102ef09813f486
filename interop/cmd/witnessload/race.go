package main

import (
	"fmt"
	"net/http"
	"sync"
)

// raceReport counts rounds in which different roots of one size were offered at once.
type raceReport struct {
	report
	rounds int
}

// race offers a witness, for each log and so many rounds, as many different trees of one size as there are connections, all at
// once and each with a valid proof that it extends what the witness cosigned last. Exactly one may be cosigned; the next
// round extends that one. A round in which the witness pushed all back is repeated.
func race(t target, logs []loadLog, from int64, rounds, connections int) (raceReport, error) {
	shared, err := sharedTree(from)
	if err != nil {
		return raceReport{}, err
	}
	clients := make([]*client, connections)
	for i := range clients {
		if clients[i], err = t.dial(); err != nil {
			return raceReport{}, err
		}
		defer clients[i].Close()
	}
	all := raceReport{report: report{others: map[int]int{}}}
	for _, log := range logs {
		state := shared
		for round := 0; round < rounds; {
			forks, requests, err := forksOf(t, log, state, round, connections)
			if err != nil {
				return all, err
			}
			statuses, err := atOnce(clients, requests)
			if err != nil {
				return all, err
			}
			winner, err := all.judge(log, statuses)
			if err != nil {
				return all, err
			}
			if winner >= 0 {
				state = forks[winner]
				round++
			}
		}
	}
	for _, c := range clients {
		all.sent += c.sent
		all.received += c.received
	}
	return all, nil
}

// forksOf are as many trees that extend one by a leaf, and the requests that offer them.
func forksOf(t target, log loadLog, state *tree, round, count int) ([]*tree, [][]byte, error) {
	forks, requests := make([]*tree, count), make([][]byte, count)
	for i := range forks {
		fork := state.fork()
		if err := fork.append(fmt.Appendf(nil, "%s round %d fork %d", log.origin, round, i)); err != nil {
			return nil, nil, err
		}
		proof, err := fork.proof(state.size(), fork.size())
		if err != nil {
			return nil, nil, err
		}
		body, err := log.addCheckpoint(state.size(), proof, fork.at(fork.size()))
		if err != nil {
			return nil, nil, err
		}
		forks[i], requests[i] = fork, t.request(body)
	}
	return forks, requests, nil
}

// atOnce sends each request over its own connection and returns the statuses.
func atOnce(clients []*client, requests [][]byte) ([]int, error) {
	statuses, errs := make([]int, len(clients)), make([]error, len(clients))
	begin := make(chan struct{})
	var group sync.WaitGroup
	for i, c := range clients {
		group.Go(func() {
			<-begin
			statuses[i], _, errs[i] = c.do(requests[i])
		})
	}
	close(begin)
	group.Wait()
	return statuses, firstOf(errs)
}

// judge returns which fork was cosigned, or -1 when the witness pushed all back. It counts the other answers.
func (r *raceReport) judge(log loadLog, statuses []int) (int, error) {
	winner, pushedBack := -1, 0
	for i, status := range statuses {
		switch status {
		case http.StatusOK:
			if winner >= 0 {
				return -1, fmt.Errorf("SPLIT VIEW: two different trees of one size of %s are cosigned: %v", log.origin, statuses)
			}
			winner = i
			continue
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			pushedBack++
		case http.StatusConflict, http.StatusUnprocessableEntity:
		default:
			return -1, fmt.Errorf("status %d in a race of %s", status, log.origin)
		}
		r.others[status]++
	}
	if winner < 0 && pushedBack == 0 {
		return -1, fmt.Errorf("none of %d trees of %s was cosigned: %v", len(statuses), log.origin, statuses)
	}
	if winner >= 0 {
		r.rounds++
	}
	return winner, nil
}
