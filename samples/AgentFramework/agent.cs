// An agent of Microsoft Agent Framework over a model of this process: dotnet run samples/AgentFramework/agent.cs
// A file-based app, outside Library.sln and not run by its tests: the solution's packages do without Agent Framework's.
#:package Microsoft.Agents.AI@1.28.0
#:project ../../src/DeepSeek.Extensions/DeepSeek.Extensions.csproj
#:property ManagePackageVersionsCentrally=false
#:property PublishAot=false
#:property NoWarn=$(NoWarn);NU1603
using System.ComponentModel;
using DeepSeek;
using DeepSeek.Extensions;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;

await using LanguageModel model = await LanguageModel.LoadAsync("samples/models/tiny-reasoner");

// The agent runs functions and keeps the conversation by itself; the model finds in its cache what it has read and written before.
var agent = new ChatClientAgent(model.AsIChatClient(), new ChatClientAgentOptions
{
    Name = "Home",
    ChatOptions = new() { Instructions = "Answer briefly.", Temperature = 0, Tools = [AIFunctionFactory.Create(GetWeather, "get_weather"), AIFunctionFactory.Create(SetTimer, "set_timer")] },
});
AgentSession session = await agent.CreateSessionAsync();
foreach (string question in args.Length > 0 ? args : ["How is the weather in Lisbon today?", "Start a 20 minute timer."])
{
    Console.WriteLine($"> {question}");
    await foreach (AgentResponseUpdate update in agent.RunStreamingAsync(question, session)) Console.Write(update.Text);
    Console.WriteLine();
}

[Description("Get the current weather of a city")]
static string GetWeather(string city) => """{"temperature": 21, "sky": "sunny"}""";

[Description("Start a timer")]
static string SetTimer(int minutes) => """{"status": "started"}""";
