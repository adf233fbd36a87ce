package fencing

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// trimmed is text without indentation.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// What the page shows is what the tests run.
func TestSnippetsOfThePageAreFromHere(t *testing.T) {
	page, err := os.ReadFile("../../docs/fencing.md")
	require.NoError(t, err)
	var code string
	for _, file := range []string{"fencing.go", "fencing_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code += trimmed(string(text))
	}
	snippets := regexp.MustCompile("(?s)\n```(?:go|sql)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.Len(t, snippets, 6)
	for _, s := range snippets {
		require.Contains(t, code, trimmed(s[1]))
	}
}

// tables are what Set and InTerm need. ZooKeeper's tokens take 63 bits.
const tables = `
CREATE TABLE jobs   (job      TEXT PRIMARY KEY, progress BIGINT NOT NULL, token BIGINT NOT NULL);
CREATE TABLE fences (election TEXT PRIMARY KEY, token BIGINT NOT NULL);
INSERT INTO jobs   VALUES ('import', 0, 0);
INSERT INTO fences VALUES ('/importer', 0);
`

// database is an SQLite with the tables, in a file, so that connections are concurrent.
func database(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "test.db")+"?_pragma=busy_timeout(60000)&_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Exec(tables)
	require.NoError(t, err)
	return db
}

// leaders returns the terms of two candidates of one election: the first leads, its session
// is ended as after a crash or a long pause, and the second leads.
func leaders(t *testing.T) (former, present *election.Term) {
	zk := electiontest.New(t)
	var terms []*election.Term
	var candidates []*election.Candidate
	for _, name := range []string{"a", "b"} {
		client, err := election.Connect(t.Context(), zk.ConnectString(), election.WithDialer(zk.Dialer(name)),
			election.WithClientLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		c, err := election.NewCandidate(client, "/importer", election.WithID(name))
		require.NoError(t, err)
		require.NoError(t, c.Start(t.Context()))
		candidates = append(candidates, c)
	}
	for _, c := range candidates {
		term, err := c.Await(t.Context())
		require.NoError(t, err)
		terms = append(terms, term)
		if c == candidates[0] {
			zk.ExpireSession(zk.Leader("/importer").SessionID)
		}
	}
	return terms[0], terms[1]
}

// The former leader checked that it leads, was paused, and writes when it is back.
func TestTheWriteOfAFormerLeaderIsRefused(t *testing.T) {
	former, present := leaders(t)
	require.Greater(t, present.Token(), former.Token())
	ctx := t.Context()

	t.Run("HTTP", func(t *testing.T) {
		server := httptest.NewServer(new(Store))
		defer server.Close()
		require.NoError(t, Put(ctx, server.URL, former.Token(), []byte("first")))
		require.NoError(t, Put(ctx, server.URL, present.Token(), []byte("second")))
		require.ErrorIs(t, Put(ctx, server.URL, former.Token(), []byte("late")), ErrFenced)
		require.NoError(t, Put(ctx, server.URL, present.Token(), []byte("third")))
		require.Equal(t, "third", get(t, server.URL))
	})

	t.Run("SQL", func(t *testing.T) {
		db := database(t)
		require.NoError(t, Set(ctx, db, "import", 1, former.Token()))
		require.NoError(t, Set(ctx, db, "import", 2, present.Token()))
		require.ErrorIs(t, Set(ctx, db, "import", 3, former.Token()), ErrFenced)
		require.EqualValues(t, 2, number(t, db, `SELECT progress FROM jobs`))
	})

	t.Run("SQL, a transaction", func(t *testing.T) {
		db := database(t)
		to := func(n int64) func(*sql.Tx) error {
			return func(tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE jobs SET progress = ? WHERE job = 'import'`, n)
				return err
			}
		}
		require.NoError(t, InTerm(ctx, db, "/importer", former.Token(), to(1)))
		require.NoError(t, InTerm(ctx, db, "/importer", present.Token(), to(2)))
		require.ErrorIs(t, InTerm(ctx, db, "/importer", former.Token(), to(3)), ErrFenced)
		require.EqualValues(t, 2, number(t, db, `SELECT progress FROM jobs`))
	})
}

// A new leader that has not written yet is unknown to the resource.
func TestTheFirstWriteOfATermShutsTheFormerLeaderOut(t *testing.T) {
	former, present := leaders(t)
	db, ctx := database(t), t.Context()
	require.NoError(t, Set(ctx, db, "import", 1, former.Token()), "nobody has told the resource of the next leader")
	begin := func(ctx context.Context, term *election.Term) error {
		return InTerm(ctx, db, "/importer", term.Token(), func(*sql.Tx) error { return nil })
	}
	require.NoError(t, begin(ctx, present))
	nothing := func(*sql.Tx) error { t.Error("the work of a former leader"); return nil }
	require.ErrorIs(t, InTerm(ctx, db, "/importer", former.Token(), nothing), ErrFenced)
}

// Writes of many leaders arrive in any order and at the same time. Those that are applied
// have tokens that never go back.
func TestAppliedTokensNeverGoBack(t *testing.T) {
	db, ctx := database(t), t.Context()
	_, err := db.Exec(`CREATE TABLE applied (n INTEGER PRIMARY KEY AUTOINCREMENT, token BIGINT NOT NULL)`)
	require.NoError(t, err)
	server := httptest.NewServer(new(Store))
	defer server.Close()

	var largest atomic.Int64
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 20 {
				token := rand.Int64N(1<<40) + 1
				for l := largest.Load(); token > l && !largest.CompareAndSwap(l, token); l = largest.Load() {
				}
				err := InTerm(ctx, db, "/importer", token, func(tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, `INSERT INTO applied (token) VALUES (?)`, token)
					return err
				})
				if err != nil {
					assert.ErrorIs(t, err, ErrFenced)
				}
				if err := Put(ctx, server.URL, token, []byte(strconv.FormatInt(token, 10))); err != nil {
					assert.ErrorIs(t, err, ErrFenced)
				}
			}
		})
	}
	writers.Wait()

	rows, err := db.Query(`SELECT token FROM applied ORDER BY n`)
	require.NoError(t, err)
	var applied []int64
	for rows.Next() {
		var token int64
		require.NoError(t, rows.Scan(&token))
		applied = append(applied, token)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, applied)
	require.True(t, slices.IsSorted(applied), "%v", applied)
	require.Equal(t, largest.Load(), applied[len(applied)-1], "nobody can refuse the largest token")
	require.Equal(t, strconv.FormatInt(largest.Load(), 10), get(t, server.URL))
}

func TestAWriteWithoutATokenIsRefused(t *testing.T) {
	server := httptest.NewServer(new(Store))
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, strings.NewReader("x"))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Empty(t, get(t, server.URL))
}

func get(t *testing.T, url string) string {
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

func number(t *testing.T, db *sql.DB, query string) (n int64) {
	require.NoError(t, db.QueryRow(query).Scan(&n))
	return n
}
