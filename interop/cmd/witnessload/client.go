package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxReply bounds what is read of one answer: some cosignatures of ML-DSA-44 are a few times 3.3 kB.
const maxReply = 1 << 20

// target is where requests go.
type target struct{ host, path string }

func newTarget(address string) (target, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return target{}, err
	}
	if parsed.Scheme != "http" {
		return target{}, fmt.Errorf("--url %s: only http", address)
	}
	return target{parsed.Host, strings.TrimSuffix(parsed.Path, "/") + "/add-checkpoint"}, nil
}

// request is a whole HTTP request, so that sending it is one write.
func (t target) request(body []byte) []byte {
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", t.path, t.host, len(body))
	return append(head, body...)
}

// client is one keep-alive connection. net/http's own client would cost more CPU than some witnesses.
type client struct {
	net.Conn
	reader   *bufio.Reader
	sent     int64
	received int64
}

func (t target) dial() (*client, error) {
	conn, err := net.Dial("tcp", t.host)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn}
	c.reader = bufio.NewReaderSize(countingReader{c}, 8<<10)
	return c, nil
}

type countingReader struct{ c *client }

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.c.Conn.Read(p)
	r.c.received += int64(n)
	return n, err
}

// do sends a request and returns status and body of its answer.
func (c *client) do(request []byte) (int, []byte, error) {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, nil, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, nil, err
	}
	c.sent += int64(len(request))
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	response.Body.Close()
	if err == nil && response.Close {
		err = fmt.Errorf("the witness closes the connection after %s", response.Status)
	}
	return response.StatusCode, body, err
}
