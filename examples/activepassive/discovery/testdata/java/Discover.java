import com.thecookiezen.microservices.infrastructure.status.InstanceDetails;
import java.util.HashMap;
import java.util.Map;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.curator.x.discovery.details.JsonInstanceSerializer;

/**
 * Registers an instance as the post does, prints every instance that Curator finds on a line of its own, and removes the
 * registration when standard input ends.
 */
public class Discover {
    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.newClient(args[0], new ExponentialBackoffRetry(1000, 3));
        client.start();
        client.blockUntilConnected();
        ServiceInstance<InstanceDetails> self = ServiceInstance.<InstanceDetails>builder()
                .uriSpec(new UriSpec("{scheme}://{address}:{port}"))
                .address("localhost")
                .port(8090)
                .name("bookService")
                .payload(new InstanceDetails(true))
                .build();
        ServiceDiscovery<InstanceDetails> discovery = ServiceDiscoveryBuilder.builder(InstanceDetails.class)
                .basePath(args[1])
                .client(client)
                .thisInstance(self)
                .watchInstances(true)
                .serializer(new JsonInstanceSerializer<>(InstanceDetails.class))
                .build();
        discovery.start();
        Map<String, Object> scheme = new HashMap<>();
        scheme.put("scheme", "http");
        for (ServiceInstance<InstanceDetails> i : discovery.queryForInstances("bookService")) {
            System.out.println(i.getName() + " " + i.getId() + " " + i.buildUriSpec(scheme) + " leader="
                    + i.getPayload().isLeader() + " " + i.getServiceType() + " enabled=" + i.isEnabled()
                    + " sslPort=" + i.getSslPort() + " registered=" + i.getRegistrationTimeUTC());
        }
        System.out.println("done");
        while (System.in.read() >= 0) {}
        discovery.close();
        client.close();
    }
}
