import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.retry.ExponentialBackoffRetry;

/**
 * Takes part in elections with Curator's LeaderLatch, over one client and so one session. peer.go has the commands and the events.
 * It ends when its input ends.
 */
public final class Peer {
    static final Map<String, Part> parts = new ConcurrentHashMap<>();
    static CuratorFramework client;

    /** A participation in one election. */
    static final class Part {
        final String id;
        final LeaderLatch latch;
        volatile long joined;

        Part(String id, String path, boolean passes) {
            this.id = id;
            latch = new LeaderLatch(client, path, id, LeaderLatch.CloseMode.NOTIFY_LEADER);
            latch.addListener(new LeaderLatchListener() {
                @Override
                public void isLeader() {
                    long now = System.nanoTime();
                    if (passes) { // first, because writing takes time
                        new Thread(Part.this::leave).start();
                    }
                    say(now, id, "leads", String.valueOf(joined));
                }

                @Override
                public void notLeader() {
                    say(System.nanoTime(), id, "lost", "notLeader");
                }
            });
        }

        void join() {
            joined = System.nanoTime();
            try {
                latch.start();
            } catch (Exception e) {
                say(System.nanoTime(), id, "error", "join: " + e);
            }
        }

        void leave() {
            long began = System.nanoTime();
            try {
                latch.close();
            } catch (Exception e) {
                say(System.nanoTime(), id, "error", "leave: " + e);
            }
            say(System.nanoTime(), id, "left", String.valueOf(began));
        }

        /** Asks every 2 ms whether it leads, and says each change. */
        void poll() {
            long last = 0;
            for (boolean led = false;;) {
                long at = System.nanoTime();
                boolean leads = latch.hasLeadership();
                if (leads && !led) {
                    say(at, id, "yes", "");
                } else if (!leads && led) {
                    say(System.nanoTime(), id, "no", String.valueOf(last));
                }
                led = leads;
                if (leads) {
                    last = at;
                }
                try {
                    Thread.sleep(2);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }
    }

    /** Writes an event. System.nanoTime is the machine's monotonic clock, the same in all processes. */
    static synchronized void say(long at, String id, String what, String text) {
        System.out.println((at + " " + id + " " + what + " " + text.replace('\n', ' ')).trim());
        System.out.flush();
    }

    static void obey(String[] words) {
        String id = words[1];
        switch (words[0]) {
            case "join":
            case "pass":
                Part part = new Part(id, words[2], words[0].equals("pass"));
                parts.put(id, part);
                new Thread(part::join).start();
                break;
            case "leave":
                new Thread(parts.get(id)::leave).start();
                break;
            case "poll":
                new Thread(parts.get(id)::poll).start();
                break;
            default:
        }
    }

    /** Arguments: the server and the session timeout in milliseconds. */
    public static void main(String[] args) throws Exception {
        client = CuratorFrameworkFactory.builder().connectString(args[0]).sessionTimeoutMs(Integer.parseInt(args[1]))
            .connectionTimeoutMs(15_000).retryPolicy(new ExponentialBackoffRetry(1000, 3)).build();
        client.start();
        client.blockUntilConnected();
        say(System.nanoTime(), "-", "ready", "");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" +");
            if (words.length > 1) {
                obey(words);
            }
        }
        Runtime.getRuntime().halt(0);
    }
}
