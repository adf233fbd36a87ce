import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.recipes.leader.LeaderElectionSupport;
import org.apache.zookeeper.recipes.leader.LeaderElectionSupport.EventType;

/**
 * Takes part in elections with the originals of three Java recipes. A test drives it over stdin and stdout; the documentation of
 * the Go package interop has the protocol. It ends when its input ends, so that it does not outlive the test.
 */
public final class Peer {
    /** A participant with a client, and so a session, of its own. */
    abstract static class Stander {
        final String id;
        final String path;
        final long linger; // how long its work takes to stop, in milliseconds
        private boolean working;
        private boolean leaving;

        Stander(String id, String path, long linger) {
            this.id = id;
            this.path = path;
            this.linger = linger;
        }

        abstract void start() throws Exception;

        abstract boolean leads();

        /** The IDs in line, the leader first, as far as the recipe reports them. */
        abstract String participants() throws Exception;

        abstract void close() throws Exception;

        abstract ZooKeeper zooKeeper() throws Exception;

        /** Changes the data of its own znode, in its own session, as a recipe or its user might. */
        void write(String text) throws Exception {
            ZooKeeper own = zooKeeper();
            for (String name : own.getChildren(path, false)) {
                Stat stat = own.exists(path + "/" + name, false);
                if (stat != null && stat.getEphemeralOwner() == own.getSessionId()) {
                    own.setData(path + "/" + name, text.getBytes(StandardCharsets.UTF_8), -1);
                    return;
                }
            }
            throw new IllegalStateException("has no znode");
        }

        synchronized void leaving() {
            leaving = true;
        }

        synchronized boolean isLeaving() {
            return leaving;
        }

        /**
         * Its user has closed it and does not begin any work, although its recipe may still call a listener: LeaderElectionSupport
         * says ELECTED_COMPLETE after STOP_START if an election was under way when stop was called.
         */
        synchronized void gained() {
            if (leaving) {
                return;
            }
            working = true;
            say(id, "gained", "");
        }

        /** The work stops, which takes its time; then, and no sooner, it is said that leadership is lost. */
        synchronized void lost(String why) {
            if (!working) {
                return;
            }
            working = false;
            sleepThrough(linger);
            say(id, "lost", why);
        }
    }

    /** Curator's LeaderLatch. */
    static final class Latch extends Stander {
        final CuratorFramework client = curator();
        final LeaderLatch latch;

        Latch(String id, String path, long linger) {
            super(id, path, linger);
            latch = new LeaderLatch(client, path, id, LeaderLatch.CloseMode.NOTIFY_LEADER);
            latch.addListener(new LeaderLatchListener() {
                @Override
                public void isLeader() {
                    gained();
                }

                @Override
                public void notLeader() {
                    lost("notLeader");
                }
            });
        }

        @Override
        void start() throws Exception {
            client.start();
            latch.start();
        }

        @Override
        boolean leads() {
            return latch.hasLeadership();
        }

        @Override
        String participants() throws Exception {
            return latch.getParticipants().stream().map(Participant::getId).collect(Collectors.joining(","));
        }

        @Override
        void close() throws Exception {
            latch.close();
            client.close();
        }

        @Override
        ZooKeeper zooKeeper() throws Exception {
            return client.getZookeeperClient().getZooKeeper();
        }
    }

    /** Curator's LeaderSelector. */
    static final class Selector extends Stander {
        final CuratorFramework client = curator();
        final LeaderSelector selector;
        final CountDownLatch over = new CountDownLatch(1);
        volatile boolean inOffice;

        Selector(String id, String path, long linger) {
            super(id, path, linger);
            selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework c) {
                    lead();
                }
            });
            selector.setId(id);
        }

        void lead() {
            inOffice = true;
            gained();
            try {
                new CountDownLatch(1).await(); // until interrupted, by close or by the loss of the connection
            } catch (InterruptedException e) {
                lost("interrupted");
                Thread.currentThread().interrupt();
            } finally {
                over.countDown();
            }
        }

        @Override
        void start() {
            client.start();
            selector.start();
        }

        @Override
        boolean leads() {
            return selector.hasLeadership();
        }

        @Override
        String participants() throws Exception {
            return selector.getParticipants().stream().map(Participant::getId).collect(Collectors.joining(","));
        }

        @Override
        void close() throws Exception {
            selector.close();
            if (inOffice) { // close returns before takeLeadership does; to end the session now would hand over too early
                over.await();
            }
            client.close();
        }

        @Override
        ZooKeeper zooKeeper() throws Exception {
            return client.getZookeeperClient().getZooKeeper();
        }
    }

    /** LeaderElectionSupport of ZooKeeper's recipes. It only hears of deletions, so its user has to listen to the client. */
    static final class Recipe extends Stander {
        final LeaderElectionSupport support = new LeaderElectionSupport();
        ZooKeeper zooKeeper;
        volatile boolean elected;

        Recipe(String id, String path, long linger) {
            super(id, path, linger);
        }

        @Override
        void start() throws Exception {
            CountDownLatch up = new CountDownLatch(1);
            zooKeeper = new ZooKeeper(connect, timeout, event -> {
                if (event.getState() == KeeperState.SyncConnected) {
                    up.countDown();
                } else if (event.getState() == KeeperState.Expired) {
                    elected = false;
                    lost("expired");
                }
            });
            up.await();
            support.setZooKeeper(zooKeeper);
            support.setRootNodeName(path);
            support.setHostName(id);
            support.addListener(this::told);
            support.start();
        }

        void told(EventType event) {
            switch (event) {
                case ELECTED_COMPLETE:
                    elected = true;
                    gained();
                    break;
                case STOP_START: // its offer is deleted when this returns
                    elected = false;
                    lost("stop");
                    break;
                case FAILED:
                    if (!isLeaving()) {
                        say(id, "failed", "");
                    }
                    break;
                default:
            }
        }

        @Override
        boolean leads() {
            return elected;
        }

        @Override
        String participants() throws Exception {
            return support.getLeaderHostName();
        }

        @Override
        void close() throws Exception {
            support.stop();
            zooKeeper.close();
        }

        @Override
        ZooKeeper zooKeeper() {
            return zooKeeper;
        }
    }

    static String connect;
    static int timeout;
    static final Map<String, Stander> standers = new ConcurrentHashMap<>();

    static CuratorFramework curator() {
        return CuratorFrameworkFactory.builder().connectString(connect).sessionTimeoutMs(timeout)
            .connectionTimeoutMs(10_000).maxCloseWaitMs(100).retryPolicy(new RetryForever(50)).build();
    }

    static Stander make(String kind, String id, String path, long linger) {
        switch (kind) {
            case "latch":
                return new Latch(id, path, linger);
            case "selector":
                return new Selector(id, path, linger);
            default:
                return new Recipe(id, path, linger);
        }
    }

    static void obey(String kind, String[] words) throws Exception {
        String id = words[1];
        switch (words[0]) {
            case "start":
                standers.put(id, make(kind, id, words[2], Long.parseLong(words[3])));
                standers.get(id).start();
                say(id, "started", "");
                break;
            case "leader?":
                say(id, "leader", String.valueOf(standers.get(id).leads()));
                break;
            case "participants":
                say(id, "participants", standers.get(id).participants());
                break;
            case "write":
                standers.get(id).write(words[2]);
                say(id, "written", "");
                break;
            case "close":
                standers.get(id).leaving();
                standers.get(id).close();
                say(id, "closed", "");
                break;
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    static void tryTo(String kind, String[] words) {
        try {
            obey(kind, words);
        } catch (Throwable e) {
            e.printStackTrace();
            say(words.length > 1 ? words[1] : "-", "error", words[0] + " " + e);
        }
    }

    /** Writes an event. System.nanoTime is the machine's monotonic clock, the same in all processes. */
    static synchronized void say(String id, String event, String text) {
        System.out.println((System.nanoTime() + " " + id + " " + event + " " + text).trim());
        System.out.flush();
    }

    static void sleepThrough(long millis) {
        boolean interrupted = false;
        for (long end = System.nanoTime() + millis * 1_000_000; System.nanoTime() < end; ) {
            try {
                Thread.sleep(Math.max(1, (end - System.nanoTime()) / 1_000_000));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Arguments: the recipe, the connect string, the session timeout in milliseconds. */
    public static void main(String[] args) throws Exception {
        connect = args[1];
        timeout = Integer.parseInt(args[2]);
        say("-", "ready", "");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null && !line.equals("exit"); line = in.readLine()) {
            String[] words = line.split(" ");
            new Thread(() -> tryTo(args[0], words)).start(); // a command that hangs must not hold up the others
        }
        Runtime.getRuntime().halt(0); // leaving in good order is what "close" is for
    }
}
