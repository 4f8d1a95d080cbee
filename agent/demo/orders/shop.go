package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"
)

type product struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Price int      `json:"price"`
	Tags  []string `json:"tags"`
}

type order struct {
	Customer string `json:"customer"`
	Lines    []line `json:"lines"`
}

type line struct {
	Product int `json:"product"`
	Count   int `json:"count"`
}

type receipt struct {
	Total  int    `json:"total"`
	Digest string `json:"digest"`
}

// shop holds the catalogue, which never changes, and what each customer has spent.
type shop struct {
	catalogue []product
	page      *template.Template

	mu    sync.Mutex
	spent map[string]int
}

var adjectives = []string{"red", "small", "quiet", "round", "heavy", "folding", "spare"}
var nouns = []string{"kettle", "lamp", "ladder", "chair", "bicycle", "radio", "clock", "basket"}

func newShop(products int) *shop {
	s := &shop{
		page:  template.Must(template.New("page").Parse(pageSource)),
		spent: make(map[string]int),
	}
	for id := 0; id < products; id++ {
		adjective, noun := adjectives[id%len(adjectives)], nouns[id%len(nouns)]
		s.catalogue = append(s.catalogue, product{
			ID:    id,
			Name:  fmt.Sprintf("%s %s no. %d", adjective, noun, id),
			Price: 100 + id*7919%9900,
			Tags:  []string{adjective, noun},
		})
	}
	return s
}

const pageSource = `<h1>{{len .}} offers</h1>
<ul>{{range .}}<li id="{{.ID}}"><b>{{.Name}}</b> {{.Price}} {{range .Tags}}<i>{{.}}</i> {{end}}</li>{{end}}</ul>
`

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/order", s.handleOrder)
	mux.HandleFunc("/search", s.handleSearch)
	mux.HandleFunc("/offers", s.handleOffers)
	mux.HandleFunc("/best", s.handleBest)
	return mux
}

// handleOrder decodes an order, prices it and signs the receipt.
func (s *shop) handleOrder(w http.ResponseWriter, r *http.Request) {
	var wanted order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&wanted); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	total := 0
	for _, l := range wanted.Lines {
		if l.Product < 0 || l.Product >= len(s.catalogue) {
			http.Error(w, "no such product", http.StatusNotFound)
			return
		}
		total += s.catalogue[l.Product].Price * l.Count
	}
	s.charge(wanted.Customer, total)
	writeJSON(w, receipt{Total: total, Digest: sign(wanted, total)})
}

// charge forgets everyone now and then, so that the map grows and is thrown away again.
func (s *shop) charge(customer string, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spent) > 5000 {
		s.spent = make(map[string]int)
	}
	s.spent[customer] += total
}

// sign is a digest made slow on purpose, as password hashes are.
func sign(o order, total int) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s/%d/%d", o.Customer, len(o.Lines), total)))
	for round := 0; round < 200; round++ {
		sum = sha256.Sum256(sum[:])
	}
	return hex.EncodeToString(sum[:])
}

// handleSearch matches a regular expression against every name.
func (s *shop) handleSearch(w http.ResponseWriter, r *http.Request) {
	pattern, err := regexp.Compile("(?i)" + r.URL.Query().Get("q"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found := filter(s.catalogue, func(p product) bool { return pattern.MatchString(p.Name) })
	writeJSON(w, found)
}

// handleOffers renders the cheapest products with one tag as a page.
func (s *shop) handleOffers(w http.ResponseWriter, r *http.Request) {
	tag := strings.ToLower(r.URL.Query().Get("tag"))
	tagged := filter(s.catalogue, func(p product) bool { return p.Tags[0] == tag || p.Tags[1] == tag })
	sort.Slice(tagged, func(i, j int) bool { return tagged[i].Price < tagged[j].Price })
	if len(tagged) > 40 {
		tagged = tagged[:40]
	}
	if err := s.page.Execute(w, tagged); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// handleBest lists the ten customers who spent most.
func (s *shop) handleBest(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	names := make([]string, 0, len(s.spent))
	spent := make(map[string]int, len(s.spent))
	for name, total := range s.spent {
		names = append(names, name)
		spent[name] = total
	}
	s.mu.Unlock()
	sort.Slice(names, func(i, j int) bool {
		if spent[names[i]] != spent[names[j]] {
			return spent[names[i]] > spent[names[j]]
		}
		return names[i] < names[j]
	})
	if len(names) > 10 {
		names = names[:10]
	}
	writeJSON(w, names)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

// filter is generic so that a profile shows how such functions are named.
func filter[T any](all []T, keep func(T) bool) []T {
	var kept []T
	for _, one := range all {
		if keep(one) {
			kept = append(kept, one)
		}
	}
	return kept
}
