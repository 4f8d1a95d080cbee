package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/url"
	"time"
)

// client sends one request after the other, each kind in a fixed mix drawn from its own random numbers.
type client struct {
	base   string
	pause  time.Duration
	random *rand.Rand
	http   *http.Client
}

func newClient(id int, base string, pause time.Duration) *client {
	return &client{
		base:   base,
		pause:  pause,
		random: rand.New(rand.NewSource(int64(id))),
		http:   &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
	}
}

func (c *client) run() {
	for {
		if err := c.step(); err != nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
		time.Sleep(c.pause)
	}
}

func (c *client) step() error {
	switch dice := c.random.Intn(100); {
	case dice < 55:
		return c.buy()
	case dice < 70:
		return c.get("/search?q=" + url.QueryEscape("(red|small|heavy) [a-l].*"+nouns[c.random.Intn(len(nouns))]))
	case dice < 95:
		return c.get("/offers?tag=" + adjectives[c.random.Intn(len(adjectives))])
	default:
		return c.get("/best")
	}
}

func (c *client) buy() error {
	wanted := order{Customer: fmt.Sprintf("customer-%d", c.random.Intn(20000))}
	for n := 1 + c.random.Intn(40); n > 0; n-- {
		wanted.Lines = append(wanted.Lines, line{Product: c.random.Intn(2000), Count: 1 + c.random.Intn(3)})
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	response, err := c.http.Post(c.base+"/order", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	defer io.Copy(io.Discard, response.Body) // read to the end, else the connection is not used again
	var paid receipt
	return json.NewDecoder(response.Body).Decode(&paid)
}

func (c *client) get(path string) error {
	response, err := c.http.Get(c.base + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
